"""What a run may do with a key, and what its calls say of the key: never more than they prove."""

from uuid import UUID

import pytest

from fetcher.app import run
from shared.contracts import SyncRequest
from shared.domain.run import Kind, State
from shared.errors import Misconfigured, Never
from shared.postgres import Database
from shared.postgres.credentials import seal_new
from shared.providers.port import Consequence
from shared.runtime import House
from shared.secrets import Sealer
from tests import fakes
from tests.builders import PROVIDER, SEALER, Tenant, a_partner, at
from tests.integration.fetcher.scripted import Provider, a_request, failing, fetch, published, the_run


async def key_state(database: Database) -> tuple[str, str | None]:
    row = await database.fetchrow("SELECT state, state_reason FROM credentials")
    assert row is not None
    return row["state"], row["state_reason"]


async def test_a_key_is_proven_with_one_list_of_races_and_one_look_into_a_race(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    await database.execute("UPDATE credentials SET state = 'refused'")
    await fetch(house, provider, await a_request(database, tenant, race_id=None, kind=Kind.VERIFY))
    assert await key_state(database) == ("active", None)
    assert [each["path"].rpartition("/")[2] for each in provider.calls] == ["races", "participants"]


@pytest.mark.parametrize("refused", [True, False])
async def test_a_key_that_was_disabled_during_a_call_stays_disabled(
    database: Database, house: House, tenant: Tenant, provider: Provider, refused: bool
) -> None:
    async def disable() -> None:
        await database.execute("UPDATE credentials SET state = 'disabled', state_reason = 'by an operator'")
        if refused:
            failing(Consequence.CREDENTIAL, "http_401")()

    provider.before[2] = disable
    await fetch(house, provider, await a_request(database, tenant, race_id=None, kind=Kind.VERIFY))
    assert await key_state(database) == ("disabled", "by an operator")


@pytest.mark.parametrize("refused", [True, False])
async def test_a_call_with_the_old_secret_says_nothing_of_one_entered_meanwhile(
    database: Database, house: House, tenant: Tenant, provider: Provider, refused: bool
) -> None:
    async def enter() -> None:
        await database.execute("UPDATE public.partner_provider_credentials SET secret = 'another-secret'")
        async with database.transaction() as connection:
            await seal_new(connection, SEALER, at(1))
        if refused:
            failing(Consequence.CREDENTIAL, "http_401")()

    provider.before[2] = enter
    await fetch(house, provider, await a_request(database, tenant, race_id=None, kind=Kind.VERIFY))
    assert await key_state(database) == ("new", None)


async def test_a_request_with_the_key_of_another_partner_is_never(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    """A message that somebody published by hand must not bring one tenant's people into another's tables."""
    other = await a_partner(database)
    written = SyncRequest(
        run_id=UUID(int=7),
        kind=Kind.RACE,
        provider=PROVIDER.name,
        timing_partner_id=tenant.timing_partner_id,
        credential_id=other.credential_id,
        race_id="501",
    )
    with pytest.raises(Never, match="is not one of partner") as caught:
        await fetch(house, provider, fakes.a_delivery(written))
    assert caught.value.reason == "misplaced"
    assert provider.calls == []
    assert await database.fetchval("SELECT count(*) FROM sync_runs") == 0


async def test_a_key_that_cannot_be_opened_ends_its_run(
    database: Database, house: House, tenant: Tenant, provider: Provider
) -> None:
    house.key = Sealer(bytes(range(32)))
    with pytest.raises(Never, match="HUB_SECRET_KEY"):
        await fetch(house, provider, await a_request(database, tenant))
    end = published(house)[1]
    assert end is not None
    assert end.failure is not None
    assert (end.failure.code, end.failure.consequence) == ("sealed_otherwise", Consequence.NEVER)
    assert (await the_run(database))["state"] != State.RUNNING


async def test_a_fetcher_without_the_secret_key_says_so_when_it_starts(house: House) -> None:
    house.key = None
    with pytest.raises(Misconfigured, match="HUB_SECRET_KEY is not set"):
        await run(house)
