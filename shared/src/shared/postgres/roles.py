"""What each service, and who only reads, may do in the database: one table, granted by `hub migrate`.

Roles belong to the whole server, and making them is often not the migrating user's right. So those are served that
exist, and nothing depends on them: without any, everything is done as the owner of the tables.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import asyncpg

from shared.errors import Misconfigured, Stop
from shared.postgres.errors import translated
from shared.postgres.migrate import LOCK

#: The columns of the table below, in its order.
ROLES = ("hub_scheduler", "hub_fetcher", "hub_writer", "hub_bib_watcher", "hub_reader")

#: A table, the columns meant (none: all), and for each role: r reads, i inserts, u updates, d deletes.
#: Who only locks rows (`FOR UPDATE`) may write one of their columns that harms nobody.
MAY: tuple[tuple[str, str, str, str, str, str, str], ...] = (
    #                                                                 scheduler fetcher writer bib-w. reader
    # Who registered, where and what changed.
    ("hub.participants", "",                                          "",      "",      "riu",   "",      "r"),
    ("hub.participants",
        "provider_id, timing_partner_id, registration_id, "
        "race_id, event_id, first_seen_at, removed_at",               "r",     "",      "",      "r",     ""),
    ("hub.participants", "user_id, bib, provider_modified_at",        "",      "",      "",      "r",     ""),
    ("hub.races", "",                                                 "r",     "",      "riu",   "",      "r"),
    ("hub.events", "",                                                "r",     "r",     "riu",   "r",     "r"),
    ("hub.changes", "",                                               "",      "",      "ri",    "r",     "r"),
    ("hub.change_batches", "",                                        "r",     "r",     "ri",    "r",     "r"),
    ("hub.change_batches", "feed_first",                              "u",     "u",     "u",     "u",     ""),
    ("hub.change_batches", "watched_at",                              "",      "",      "",      "u",     ""),
    ("hub.change_feed", "",                                           "",      "",      "",      "",      "r"),
    ("hub.bib_history", "",                                           "",      "",      "",      "ri",    "r"),
    # Partners and their keys. A secret in clear is for who seals it, a sealed one for who calls with it.
    ("public.timing_partners",
        "timing_partner_id, company_name, api_access_enabled",        "r",     "",      "",      "",      "r"),
    ("public.timing_partners",
        "created_at, updated_at",                                     "",      "",      "",      "",      "r"),
    ("public.providers", "",                                          "r",     "r",     "",      "",      "r"),
    ("public.partner_provider_credentials",
        "partner_provider_credential_id, provider_id, "
        "timing_partner_id, principal",                               "r",     "r",     "",      "",      ""),
    ("public.partner_provider_credentials", "credential_type",        "",      "r",     "",      "",      ""),
    ("public.partner_provider_credentials", "created_at",             "r",     "",      "",      "",      ""),
    ("public.partner_provider_credentials", "secret, updated_at",     "ru",    "",      "",      "",      ""),
    ("hub.credentials", "credential_id, fingerprint",                 "riu",   "r",     "r",     "",      ""),
    ("hub.credentials", "sealed_secret",                              "iu",    "r",     "",      "",      ""),
    ("hub.credentials", "state, state_reason, state_at",              "riu",   "ru",    "ru",    "",      ""),
    ("hub.credentials", "discover_due_at",                            "riu",   "",      "ru",    "",      ""),
    ("hub.credentials", "last_discovered_at",                         "r",     "",      "ru",    "",      ""),
    ("hub.credentials", "replaces",                                   "",      "r",     "r",     "",      ""),
    # The budget.
    ("hub.provider_keys", "",                                         "ri",    "r",     "",      "",      ""),
    ("hub.provider_keys",
        "blocked_until, block_reason, slow_answers, failures, "
        "others_calls, others_seen_at, reservations",                 "",      "u",     "",      "",      ""),
    ("hub.calls", "",                                                 "rd",    "riu",   "",      "",      ""),
    ("hub.call_slots", "",                                            "",      "riu",   "",      "",      ""),
    ("hub.call_waiters", "",                                          "",      "riud",  "",      "",      ""),
    ("hub.provider_stops", "",                                        "",      "riu",   "",      "",      ""),
    ("hub.key_hours", "",                                             "riud",  "r",     "",      "",      ""),
    # Asking.
    ("hub.cadences", "",                                              "r",     "",      "",      "",      ""),
    ("hub.race_sync", "",                                             "ru",    "r",     "riu",   "r",     ""),
    ("hub.race_sync", "next_due_at",                                  "",      "u",     "",      "u",     ""),
    ("hub.sync_runs", "",                                             "riu",   "riu",   "riu",   "riu",   "r"),
    ("hub.backfills", "",                                             "ru",    "r",     "",      "",      ""),
    # Applying. Whoever ends a run lets go of who was seen in it.
    ("hub.applied_batches", "",                                       "rd",    "",      "riu",   "",      ""),
    ("hub.applied_batches", "run_id, seen_ids",                       "",      "r",     "",      "r",     ""),
    ("hub.applied_batches", "seen_ids",                               "u",     "u",     "",      "u",     ""),
    ("hub.raw_batches", "",                                           "d",     "",      "ri",    "",      ""),
    ("hub.raw_batches", "fetched_at",                                 "r",     "",      "",      "",      ""),
    ("hub.missed", "",                                                "r",     "",      "riud",  "",      ""),
    # Telling, and being alive.
    ("hub.outbox", "",                                                "rid",   "rid",   "rid",   "rid",   ""),
    ("hub.service_beats", "",                                         "riud",  "riud",  "riud",  "riud",  ""),
    ("hub.schema_migrations", "",                                     "r",     "r",     "r",     "r",     ""),
    ("hub.checks", "",                                                "riu",   "",      "",      "",      "r"),
    # Being stuck, and doing it again.
    ("hub.quarantine", "",                                            "",      "",      "riu",   "",      ""),
    ("hub.quarantine",
        "item_id, provider_id, timing_partner_id, race_id, "
        "reason, mapping_version, first_seen_at, resolved_at",        "r",     "",      "",      "",      ""),
    ("hub.quarantine", "mapping_version",                             "u",     "",      "",      "",      ""),
    ("hub.held_removals", "",                                         "",      "",      "riu",   "",      ""),
    ("hub.held_removals", "resolved_at",                              "r",     "",      "",      "",      ""),
    ("hub.dead_letters", "",                                          "r",     "",      "ri",    "",      ""),
    ("hub.dead_letters", "resolved_at, resolution",                   "u",     "",      "u",     "",      ""),
    ("hub.replays", "",                                               "riud",  "",      "r",     "",      ""),
    ("hub.replay_items", "",                                          "riu",   "",      "ru",    "",      ""),
    # The old names.
    ("public.runsignup_races", "",                                    "",      "",      "",      "",      "r"),
    ("public.runsignup_events", "",                                   "",      "",      "",      "",      "r"),
    ("public.runsignup_participants", "",                             "",      "",      "",      "",      "r"),
    ("public.unified_participants", "",                               "",      "",      "",      "",      "r"),
    ("public.unified_events", "",                                     "",      "",      "",      "",      "r"),
    ("public.unified_results", "",                                    "",      "",      "",      "",      "r"),
    ("public.sync_history", "",                                       "",      "",      "",      "",      "r"),
)  # fmt: skip

_VERBS = {"r": "SELECT", "i": "INSERT", "u": "UPDATE", "d": "DELETE"}


def grants(role: str) -> list[str]:
    """The statements that give a role what it needs, after taking whatever it had."""
    place = ROLES.index(role)
    tables = dict.fromkeys(table for table, *_ in MAY)
    statements = [f"GRANT USAGE ON SCHEMA hub, public TO {role}", f"REVOKE ALL ON ALL TABLES IN SCHEMA hub FROM {role}"]
    statements += [f"REVOKE ALL ON {table} FROM {role}" for table in tables if table.startswith("public.")]
    for table, columns, *rights in MAY:
        if rights[place]:
            verbs = ", ".join(_VERBS[each] + (f" ({columns})" if columns else "") for each in rights[place])
            statements.append(f"GRANT {verbs} ON {table} TO {role}")
    return statements


async def grant(url: str, passwords: Mapping[str, str]) -> list[str]:
    """Give every role that exists exactly what it needs, in one transaction; the roles that were served.

    Those with a password are made if need be, and may log in with it. Safe to repeat. Raises Stop when this user may
    not make roles, Misconfigured for a role that is none of ours.
    """
    if strangers := set(passwords) - set(ROLES):
        raise Misconfigured(f"HUB_ROLE_PASSWORDS names {', '.join(sorted(strangers))}; there are {', '.join(ROLES)}")
    with translated("granting to the roles"):
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
            for role, password in passwords.items():
                await _let_log_in(connection, role, password)
            rows = await connection.fetch(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY($1) AND rolname <> current_user", list(ROLES)
            )  # whoever migrates owns the tables, and would take his own rights
            served = [role for role in ROLES if role in {row["rolname"] for row in rows}]
            async with connection.transaction():
                for role in served:
                    await connection.execute("; ".join(grants(role)))
            return served
        finally:
            await connection.close()


async def _let_log_in(connection: "asyncpg.Connection[Any]", role: str, password: str) -> None:
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
            with suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):  # another hub's, just now
                await connection.execute(f"CREATE ROLE {role}")
        await connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{verifier(password, secrets.token_bytes(16))}'")
    except asyncpg.InsufficientPrivilegeError:
        raise Stop(
            f"this database user may not make the role {role} or let it log in; let an administrator of the server do"
            " that (k8s/README.md has the statements), take HUB_ROLE_PASSWORDS away, and run `hub migrate` again"
        ) from None


def verifier(password: str, salt: bytes, rounds: int = 4096) -> str:
    """What PostgreSQL stores of a password (SCRAM-SHA-256, RFC 5803): so it stands in no statement and no log."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client_key, server_key = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    salt64, stored64, server64 = (
        base64.b64encode(each).decode() for each in (salt, hashlib.sha256(client_key).digest(), server_key)
    )
    return f"SCRAM-SHA-256${rounds}:{salt64}${stored64}:{server64}"
