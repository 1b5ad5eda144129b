"""`hub partner add/list/verify/disable/enable`: tenants and their keys."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.domain.run import Kind
from shared.errors import Later, Never
from shared.ops import show
from shared.ops.desk import Desk, at_desk, require_services
from shared.ops.failing import WrongUsage
from shared.ops.following import reason, wait_for
from shared.ops.opening import PROOF_SECONDS, Opening, in_words, opened, wait_for_proof
from shared.ops.partner_rows import Stored, check_sealer, look_now, make_new_again, others_with, store_key
from shared.ops.selecting import Key, Partner, all_partners, choose
from shared.ops.wanting import of_key
from shared.postgres.asks import ask
from shared.postgres.credentials import set_state
from shared.postgres.pool import notify
from shared.providers.port import Provider
from shared.providers.registry import by_name

group = typer.Typer(help="Timing partners and their keys.", no_args_is_help=True)

Secret = Annotated[
    str | None,
    typer.Option(help="The API secret; - reads it from standard input; left out, it is asked for.", show_default=False),
]
SecretFile = Annotated[
    Path | None, typer.Option(help="A file that holds the secret and nothing else.", show_default=False)
]
Wanted = Annotated[str, typer.Argument(metavar="NAME|ID", help="A partner's name or number.", show_default=False)]


class Form(StrEnum):
    """How a RunSignUp key is sent."""

    V1 = "v1"
    V2 = "v2"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="partner")


@group.command()
def add(
    name: Annotated[
        str | None, typer.Option(help="The partner's name. One that exists gets another key.", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option(help="The API key.", show_default=False)] = None,
    provider: Annotated[str, typer.Option(help="The registration platform.")] = "runsignup",
    secret: Secret = None,
    secret_file: SecretFile = None,
    form: Annotated[Form, typer.Option(help="v1: key and secret; v2: key with header secret.")] = Form.V1,
    json: show.Json = False,
) -> None:
    """Store a partner's key, sealed; what is left out is asked for. The first load follows by itself.

    If services run, the key is proven on one of its races, and the races that it opens are told (exit code 3: stored,
    and refused). A secret on the command line can be seen by other users of the machine while the command runs: prefer
    the prompt, a file or standard input.

    Example: hub partner add --name "Fast Timing" --provider runsignup --key K --secret-file secret.txt
    """
    try:
        platform = by_name(provider.strip().lower())
    except Never as error:
        raise WrongUsage(str(error)) from None
    name = (name if name is not None else _prompt("Partner's name", "--name")).strip()
    if not name or len(name) > 255 or "\0" in name:
        raise WrongUsage("a partner's name has 1 to 255 characters")
    key = (key if key is not None else _prompt("API key", "--key")).strip()
    word = read_secret(secret, secret_file)
    if problem := platform.check_key(key, word):
        raise WrongUsage(f"{problem} Nothing was stored.")
    stored, shared, opening = at_desk(lambda desk: _add(desk, name, platform, key, word, form))
    if json:
        show.document({
            "partner_id": stored.partner_id,
            "credential_id": stored.credential_id,
            "fingerprint": stored.fingerprint,
            "provider": platform.name,
            "outcome": stored.outcome,
            "shares_budget_with": shared,
            "services_live": opening is not None,
            **(opening or Opening(None, "no service is running", [])).describe(),
        })  # fmt: skip
        raise typer.Exit(3 if opening is not None and opening.accepted is False else 0)
    done = {"added": "Stored", "another": "Stored as another key", "replaced": "Stored over the former secret"}
    show.say(
        f"{done[stored.outcome]}: partner {stored.partner_id}, credential {stored.credential_id}, "
        f"key {stored.fingerprint}, sealed."
    )
    if shared:
        others = ", ".join(map(str, shared))
        show.say(f"The same key is partner {others}'s too: they share its budget.")
    if opening is None:
        show.say("Verification, discovery and the first load follow once a service runs (hub up); see: hub status")
        return
    show.say(f"It {in_words(opening, stored.partner_id)}.")
    if opening.accepted is False:
        show.say("Check key, secret and form (--form v1 or v2), then give it again with: hub partner add")
        raise typer.Exit(3)
    show.say("Its first load follows by itself; see: hub status")


def _prompt(what: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise WrongUsage(f"{option} is missing; see: hub partner add --help")
    return str(typer.prompt(what, err=True))


def read_secret(secret: str | None, secret_file: Path | None) -> str:
    if secret is not None and secret_file is not None:
        raise WrongUsage("give the secret once: with --secret or with --secret-file")
    if secret_file is not None:
        try:
            return secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WrongUsage(
                f"the secret file cannot be read ({type(error).__name__}); name another, or leave it out and be asked"
            ) from None
    if secret == "-":  # noqa: S105 — the dash is no secret
        return sys.stdin.read().strip()
    if secret is not None:
        return secret
    if not sys.stdin.isatty():
        raise WrongUsage("no secret was given; use --secret-file FILE, or --secret - and standard input")
    return str(typer.prompt("Secret", hide_input=True, err=True)).strip()


async def _add(
    desk: Desk, name: str, platform: Provider, key: str, secret: str, form: Form
) -> tuple[Stored, list[int], Opening | None]:
    sealer = desk.sealer()
    partners = await all_partners(desk.database)
    known = [each for each in partners if each.name.casefold() == name.casefold()]
    partner_id = choose(partners, name).partner_id if len(known) > 1 else known[0].partner_id if known else None
    async with desk.database.transaction("storing a key") as connection:
        await check_sealer(connection, sealer)
        stored = await store_key(
            connection, sealer, name, partner_id, platform.provider_id, key, secret, form, desk.clock.now()
        )
        shared = await others_with(connection, stored.credential_id)
    if await desk.silent():
        return stored, shared, None
    return stored, shared, await wait_for_proof(desk, stored.credential_id)


@group.command("list")
def list_(json: show.Json = False) -> None:
    """List partners with their keys, and how much is stored of them.

    Example: hub partner list
    """

    async def work(desk: Desk) -> None:
        partners = await all_partners(desk.database)
        if json:
            show.document({"partners": [describe(each) for each in partners]})
            return
        if not partners:
            show.say("No partner yet; add one with `hub partner add`.")
            return
        rows = [
            (
                partner.partner_id,
                partner.name,
                key.credential_id if key else "",
                key.provider if key else "",
                key.fingerprint if key else "",
                _state(partner, key),
                partner.races if first else "",
                partner.people if first else "",
            )
            for partner in partners
            for first, key in _first(partner.keys)
        ]
        show.table(None, (">id", "*partner", ">credential", "*provider", "key", "state", ">races", ">people"), rows)
        for partner in partners:
            for key in partner.keys:
                if key.why and partner.is_enabled:
                    show.say(f"Credential {key.credential_id} is {key.state}: {key.why}.")

    at_desk(work)


def _first(keys: tuple[Key, ...]) -> list[tuple[bool, Key | None]]:
    return [(place == 0, key) for place, key in enumerate(keys)] or [(True, None)]


def _state(partner: Partner, key: Key | None) -> str:
    if key is None:
        return "no key"
    return key.state if partner.is_enabled else "disabled"


def describe(partner: Partner) -> dict[str, object]:
    """A partner as JSON: partner_id, name, enabled, races, people, and its keys."""
    names = ("credential_id", "provider", "fingerprint", "state", "state_reason", "state_at", "last_discovered_at")
    return {
        "partner_id": partner.partner_id,
        "name": partner.name,
        "enabled": partner.is_enabled,
        "races": partner.races,
        "people": partner.people,
        "keys": [{name: getattr(key, name) for name in names} for key in partner.keys],
    }


@group.command()
def verify(partner: Wanted, json: show.Json = False) -> None:
    """Prove a partner's keys at the provider, a refused one too. Needs running services.

    Exit code 0: all are accepted, 3: some, 1: none.

    Example: hub partner verify "Fast Timing"
    """
    raise typer.Exit(at_desk(lambda desk: _verify(desk, partner, json=json)))


async def _verify(desk: Desk, wanted: str, *, json: bool) -> int:
    partner = choose(await all_partners(desk.database), wanted)
    if partner.is_disabled:
        raise WrongUsage(f"partner {partner.partner_id} is disabled; first: hub partner enable {partner.partner_id}")
    keys = [key for key in partner.keys if key.state in {"new", "active", "refused"}]
    if not keys:
        raise WrongUsage(f"partner {partner.partner_id} has no key that a service has seen; add one, or start services")
    await require_services(desk)
    runs = {}
    for key in keys:
        async with desk.database.transaction("asking for a verification") as connection:
            runs[key] = await ask(connection, of_key(desk, partner, key, Kind.VERIFY, 300), desk.clock.now())
    facts: list[dict[str, Any]] = []
    for key, run_id in runs.items():
        assert run_id is not None
        run = await wait_for(desk, run_id, PROOF_SECONDS)
        accepted = run is not None and run.is_written
        if accepted and key.state == "refused":
            await look_now(desk.database, key.credential_id, desk.clock.now())
        facts.append({
            "credential_id": key.credential_id,
            "fingerprint": key.fingerprint,
            "accepted": accepted,
            "reason": None if accepted else reason(run),
            "races": [dict(each) for each in await opened(desk, key.credential_id)] if accepted else [],
        })  # fmt: skip
    if json:
        show.document({"partner_id": partner.partner_id, "keys": facts})
    else:
        for fact in facts:
            verdict = in_words(Opening(fact["accepted"], fact["reason"], fact["races"]), partner.partner_id)
            show.say(f"Key {fact['fingerprint']} (credential {fact['credential_id']}) {verdict}.")
    good = sum(bool(fact["accepted"]) for fact in facts)
    return 0 if good == len(facts) else 3 if good else 1


@group.command()
def disable(partner: Wanted, json: show.Json = False) -> None:
    """Ask for nothing with a partner's keys any more; what is stored stays.

    Example: hub partner disable 3
    """
    _switch(partner, "disabled", json=json)


@group.command()
def enable(partner: Wanted, json: show.Json = False) -> None:
    """Use a disabled partner's keys again: they are verified, and its races are looked at at once.

    Example: hub partner enable 3
    """
    _switch(partner, "enabled", json=json)


def _switch(wanted: str, to: str, *, json: bool) -> None:
    async def work(desk: Desk) -> tuple[Partner, int]:
        partner, now = choose(await all_partners(desk.database), wanted), desk.clock.now()
        if any(key.state == "unsealed" for key in partner.keys):
            raise Later(f"a key of partner {partner.partner_id} is not sealed yet; start a service, then try again")
        keys = [key for key in partner.keys if (key.state == "disabled") != (to == "disabled") and not key.is_replaced]
        async with desk.database.transaction("switching a partner") as connection:
            if not partner.is_enabled and to == "enabled":
                await connection.execute(
                    "UPDATE public.timing_partners SET api_access_enabled = true, updated_at = $2"
                    " WHERE timing_partner_id = $1",
                    partner.partner_id,
                    now,
                )
            for key in keys:
                if to == "disabled":
                    await set_state(connection, key.credential_id, "disabled", "by an operator", now)
                else:
                    await make_new_again(connection, key.credential_id, now)
            await notify(connection, "credential")
        return partner, len(keys)

    partner, changed = at_desk(work)
    if json:
        show.document({"partner_id": partner.partner_id, "state": to, "keys_changed": changed})
    else:
        show.say(f"Partner {partner.partner_id} is {to} ({changed} of {len(partner.keys)} keys changed).")
