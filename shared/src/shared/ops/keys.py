"""`hub partner rotate` and `hub partner reseal`: keys and the key of keys, changed while everything runs."""

from typing import Annotated

import typer

from shared.errors import Never
from shared.ops import show
from shared.ops.desk import Desk, at_desk
from shared.ops.failing import WrongUsage
from shared.ops.opening import Opening, in_words, wait_for_proof
from shared.ops.partner_rows import Stored, check_sealer, rotate_key
from shared.ops.partners import Form, Secret, SecretFile, Wanted, group, read_secret
from shared.ops.selecting import Key, Partner, all_partners, choose
from shared.postgres.credentials import reseal
from shared.providers.registry import by_id


def register(_app: typer.Typer) -> None:
    """Add the commands to those about partners."""
    group.command()(rotate)
    group.command("reseal")(reseal_)


def rotate(
    partner: Wanted,
    key: Annotated[
        str | None, typer.Option(help="The new API key; left out: the same key with a new secret.", show_default=False)
    ] = None,
    secret: Secret = None,
    secret_file: SecretFile = None,
    credential: Annotated[
        int | None, typer.Option(help="Which key is replaced, when there are several.", show_default=False)
    ] = None,
    form: Annotated[Form, typer.Option(help="v1: key and secret; v2: key with header secret.")] = Form.V1,
    json: show.Json = False,
) -> None:
    """Replace a partner's key without a gap: both are in use until the new one has listed its races.

    The old one is then disabled by itself. Should the new one open fewer races, the old one stays in use for the rest;
    should it be refused, nothing changes (exit code 3). Withdraw the old key at the provider once it is disabled.

    Example: hub partner rotate "Fast Timing" --key NEW --secret-file secret.txt
    """
    word = read_secret(secret, secret_file)
    raise typer.Exit(at_desk(lambda desk: _rotate(desk, partner, key, word, credential, form, json=json)))


async def _rotate(
    desk: Desk, wanted: str, key: str | None, secret: str, credential_id: int | None, form: Form, *, json: bool
) -> int:
    partner = choose(await all_partners(desk.database), wanted)
    old = _choose_key(partner, credential_id)
    principal: str = await desk.database.fetchval(
        "SELECT principal FROM public.partner_provider_credentials WHERE partner_provider_credential_id = $1",
        old.credential_id,
    )
    key = principal if key is None else key.strip()
    if problem := by_id(old.provider_id).check_key(key, secret):
        raise WrongUsage(f"{problem} Nothing was stored.")
    async with desk.database.transaction("rotating a key") as connection:
        await check_sealer(connection, desk.sealer())
        stored = await rotate_key(
            connection, desk.sealer(), partner.partner_id, old, key, secret, form, desk.clock.now()
        )
    live = not await desk.silent()
    opening = await wait_for_proof(desk, stored.credential_id) if live else Opening(None, "no service is running", [])
    after = choose(await all_partners(desk.database), str(partner.partner_id))
    state = next(each.state for each in after.keys if each.credential_id == old.credential_id)
    if json:
        show.document({
            "partner_id": partner.partner_id,
            "credential_id": stored.credential_id,
            "fingerprint": stored.fingerprint,
            "replaces": old.credential_id,
            "former_state": state,
            "services_live": live,
            **opening.describe(),
        })  # fmt: skip
    else:
        _tell(partner, old, state, stored, opening)
    return 3 if opening.accepted is False else 0


def _tell(partner: Partner, old: Key, state: str, stored: Stored, opening: Opening) -> None:
    words = in_words(opening, partner.partner_id)
    show.say(f"Key {stored.fingerprint} (credential {stored.credential_id}) {words}.")
    if state == "disabled":
        show.say(f"Credential {old.credential_id} is out of use; withdraw its key at the provider.")
    elif opening.accepted is False:
        show.say(f"Credential {old.credential_id} stays in use; rotate again with the right key and secret.")
    else:
        show.say(f"Credential {old.credential_id} stays in use until the new one has listed its races.")


def _choose_key(partner: Partner, credential_id: int | None) -> Key:
    keys = [each for each in partner.keys if each.state in {"active", "new", "refused"} and each.replaces is None]
    keys = keys or [each for each in partner.keys if each.state in {"active", "new", "refused"}]
    if credential_id is not None:
        keys = [each for each in partner.keys if each.credential_id == credential_id]
    if not keys:
        raise WrongUsage(f"partner {partner.partner_id} has no such key in use; see: hub partner list")
    if len(keys) > 1:
        ids = ", ".join(str(each.credential_id) for each in keys)
        raise WrongUsage(f"partner {partner.partner_id} has several keys; say which with --credential: {ids}")
    return keys[0]


def reseal_(json: show.Json = False) -> None:
    """Seal every stored secret with the present HUB_SECRET_KEY; those sealed with a former one are opened with that.

    To change HUB_SECRET_KEY without a gap: give every service the new one as HUB_FORMER_SECRET_KEYS, then swap the two,
    then run this, then take the former one away. Safe to repeat; exit code 3 if some open with none of the keys.

    Example: hub partner reseal
    """

    async def work(desk: Desk) -> tuple[int, int, list[int]]:
        sealer, done, closed = desk.sealer(), 0, []
        rows = await desk.database.fetch("SELECT credential_id FROM credentials ORDER BY 1")
        for row in rows:
            try:
                async with desk.database.transaction("resealing a key") as connection:
                    done += await reseal(connection, sealer, row["credential_id"])
            except Never:
                closed.append(row["credential_id"])
        return len(rows), done, closed

    every, done, closed = at_desk(work)
    if json:
        show.document({"keys": every, "resealed": done, "unopened": closed})
    else:
        show.say(f"{show.many(done, 'key')} sealed anew, {every - done - len(closed)} were already.")
        if closed:
            ids = ", ".join(map(str, closed))
            show.say(f"Not opened by any key that is set: credentials {ids}; set the key they were sealed with.")
    raise typer.Exit(3 if closed and every > len(closed) else 1 if closed else 0)
