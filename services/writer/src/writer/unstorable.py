"""Finding the rows that the database cannot store, without storing anything."""

from collections.abc import Sequence

from shared.contracts import ParticipantsFetched
from shared.domain.participant import Participant
from shared.errors import Never
from shared.providers.registry import by_name
from shared.runtime import House


async def find_unstorable(body: ParticipantsFetched, *, house: House) -> frozenset[str]:
    """The registrations of a batch that make COPY fail, found by halving; rarely more than one, so a few tries."""
    provider = by_name(body.provider)
    people = [
        mapped
        for mapped in (provider.map_participant(raw, body.race_id) for raw in body.records)
        if isinstance(mapped, Participant)
    ]
    return frozenset(await _search(people, house))


async def _search(people: Sequence[Participant], house: House) -> list[str]:
    if not people or await _storable(people, house):
        return []
    if len(people) == 1:
        return [people[0].registration_id]
    half = len(people) // 2
    return [*await _search(people[:half], house), *await _search(people[half:], house)]


async def _storable(people: Sequence[Participant], house: House) -> bool:
    try:
        async with house.database.transaction("trying rows") as connection:
            await connection.execute(
                "CREATE TEMPORARY TABLE tried ON COMMIT DROP AS SELECT "
                + ", ".join(Participant._fields)
                + " FROM participants WITH NO DATA"
            )
            await connection.copy_records_to_table("tried", columns=Participant._fields, records=list(people))
    except Never:
        return False
    return True
