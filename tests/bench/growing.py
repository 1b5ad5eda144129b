"""Whether the writer stays as fast, and all services as small, as the tables grow."""

from statistics import median

from shared.ops.demo.provider import pretend_provider
from shared.postgres import Database
from tests.bench.figures import Figure, Target, middle, number, spread
from tests.bench.loading import peaks
from tests.bench.place import Place
from tests.bench.writing import PEOPLE_QUICK, Round, crowd, invite, measure
from tests.builders import a_partner

STORED, STORED_QUICK = (10_000, 100_000, 1_000_000), (1_000, 10_000)


async def growing(place: Place) -> list[Figure]:
    """The same people written beside 10,000, 100,000 and a million who are stored already."""
    people = await invite(place, PEOPLE_QUICK)
    sizes = STORED_QUICK if place.is_quick else STORED
    rounds: list[dict[int, Round]] = []
    for _ in range(place.rounds):
        found = {}
        for stored in sizes:
            async with place.database_url() as url:
                found[stored] = await measure(url, people, stored=stored)
        rounds.append(found)
        place.say(
            f"growth, round {len(rounds)} of {place.rounds}: "
            + ", ".join(f"{people.count / found[each].new.seconds:,.0f}/s beside {each:,}" for each in sizes)
        )
    few, many = sizes[0], sizes[-1]

    def kept(each: dict[int, Round]) -> float:
        return each[few].new.seconds / each[many].new.seconds

    rates = ", ".join(
        f"{number(people.count / median(each[size].new.seconds for each in rounds))}/s beside {size:,}"
        for size in sizes
    )
    return [
        Figure(
            f"writer, all new, beside {many:,} stored people against beside {few:,}",
            middle(rounds, kept),
            "of its rate",
            Target("≥", 0.85),
            f"{rates}; {spread([kept(each) for each in rounds])}",
        ),
        *await _memory(place, many),
    ]


async def _memory(place: Place, stored: int) -> list[Figure]:
    """The services' peaks when so many people of a partner who has left are stored."""
    people = str(PEOPLE_QUICK)
    async with (
        place.database_url() as url,
        pretend_provider("--people", people, "--future-people", people, "--largest-event", "2501") as provider,
    ):
        database = await Database.connect(url, size=1, name="bench")
        try:
            await crowd(database, await a_partner(database), stored)
            await database.execute("DELETE FROM public.partner_provider_credentials")
        finally:
            await database.close()
        return await peaks(f"peak memory beside {stored:,} stored people", place, provider, url)
