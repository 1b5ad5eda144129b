"""Former runs, asked of the provider again: which of them are."""

from shared.domain.run import State
from shared.postgres import Database
from shared.postgres.replays import Archived, freeze_runs
from shared.runtime import House
from tests.builders import a_partner, a_race, a_run


async def test_a_failed_run_is_asked_again_only_while_its_key_is_in_use(database: Database, house: House) -> None:
    partners = {name: await a_partner(database) for name in ("active", "disabled", "deleted")}
    runs = {}
    for name, partner in partners.items():
        await a_race(database, partner)
        runs[name] = await a_run(database, partner, state=State.FAILED)
    await a_run(database, partners["active"], "71", state=State.COMPLETED)
    await database.execute(
        "UPDATE credentials SET state = 'disabled' WHERE credential_id = $1", partners["disabled"].credential_id
    )
    await database.execute(
        "DELETE FROM public.partner_provider_credentials WHERE partner_provider_credential_id = $1",
        partners["deleted"].credential_id,
    )
    async with database.transaction() as connection:
        begun = await freeze_runs(
            connection, Archived(only_failed=True), replay_id=house.new_id(), now=house.clock.now()
        )
    asked = await database.fetch("SELECT source_run_id FROM replay_items WHERE replay_id = $1", begun.replay_id)
    assert [row["source_run_id"] for row in asked] == [runs["active"]]
