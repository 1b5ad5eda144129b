"""Everybody as a correct client should have stored them, written from the model and not from any client's code.

Rules: ids are text at the top level; U+0000 is removed from text and everything else stays as received;
a blank bib or chip is null; money is a number; what the wire left out is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from . import rows
from .model import Payment, Race, Registration
from .spelling import EASTERN
from .world import World, current_events, future_events, is_future

INCLUDES = ("questions", "addons", "fundraisers", "bundles", "waivers")
"""What a client may have asked for; the fields behind it are null in the truth unless named here."""


def person_truth(race: Race, person: Registration, include: frozenset[str] = frozenset()) -> dict[str, Any]:
    runner, team, payment = person.runner, person.team, person.payment
    stored: dict[str, Any] = _without_nul(
        {
            "registration_id": str(person.registration_id),
            "race_id": str(race.race_id),
            "event_id": str(person.event_id),
            "user_id": None if runner.user_id is None else str(runner.user_id),
            "first_name": runner.first_name,
            "middle_name": runner.middle_name,
            "last_name": runner.last_name,
            "email": runner.email,
            "dob": runner.dob,
            "gender": runner.gender,
            "phone": runner.phone,
            "profile_image_url": runner.profile_image_url,
            "address": {
                "street": runner.street,
                "city": runner.city,
                "state": runner.state,
                "zipcode": runner.zipcode,
                "country_code": runner.country_code,
            },
            "bib": _unless_blank(person.bib),
            "chip": _unless_blank(person.chip),
            "age": person.age,
            "registered_at": as_read_in_eastern(person.registered_at),
            "modified_at": utc(person.last_modified),
            "team_info": {
                "team_id": team.team_id if team else None,
                "team_name": team.team_name if team else None,
                "team_type_id": team.team_type_id if team else None,
                "team_type": team.team_type if team else None,
                "team_gender": team.team_gender if team else None,
                "team_bib_num": None if team is None or team.team_bib_num is None else str(team.team_bib_num),
            },
            "payment_info": _money(race, payment)
            | {
                "rsu_transaction_id": person.rsu_transaction_id,
                "transaction_id": None if person.transaction_id is None else str(person.transaction_id),
            },
            "additional_data": _additional(race, person, include),
            "status": "active" if person.active else "removed",
            "removed_reason": person.removed_reason,
            "new_registration_id": None if person.new_registration_id is None else str(person.new_registration_id),
        }
    )
    return stored


def people_truth(
    world: World,
    race: Race,
    now: float,
    *,
    scope: str = "future",
    include: frozenset[str] = frozenset(),
    status: str | None = None,
) -> Iterator[dict[str, Any]]:
    """The race's people by ascending id: of its future events, or of all."""
    wanted = {event.event_id for event in race.events if scope == "all" or is_future(event, now)}
    for person in sorted(world.roster(race.race_id)):
        if person.event_id in wanted and (status is None or (status == "active") == person.active):
            yield person_truth(race, person, include)


def events_truth(world: World, race: Race, now: float, *, scope: str = "future") -> list[dict[str, Any]]:
    """Each event with absolute instants and its number of active people; `listed` says whether Get Races shows it."""
    shown = current_events(race, now) if race.listed else []
    return [
        {
            "race_id": str(race.race_id),
            "race_name": race.name,
            "event_id": str(event.event_id),
            "name": event.name,
            "starts_at": None if event.starts_at is None else utc(event.starts_at),
            "ends_at": None if event.ends_at is None else utc(event.ends_at),
            "timezone": race.timezone,
            "sub_event_ids": [str(id_) for id_ in event.sub_event_ids],
            "volunteer": event.volunteer,
            "virtual": event.virtual,
            "active": world.active_count(race, event),
            "listed": event in shown,
        }
        for event in (race.events if scope == "all" else future_events(race, now))
    ]


def utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def as_read_in_eastern(at: float) -> str:
    """The instant that can be read from the wire: in the repeated hour of autumn the first one."""
    local = datetime.fromtimestamp(at, EASTERN).replace(fold=0)
    return local.astimezone(UTC).isoformat()


def _money(race: Race, payment: Payment) -> dict[str, Any]:
    hidden = race.money_hidden
    return {name: None if hidden else cents / 100 for name, cents in zip(rows.MONEY_FIELDS, payment[:9], strict=True)}


def _additional(race: Race, person: Registration, include: frozenset[str]) -> dict[str, Any]:
    n = person.registration_id

    def asked(name: str, values: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        return values(n) if name in include else dict.fromkeys(values(n))

    return {
        "usatf_discount_amount_in_cents": None if race.money_hidden else person.payment.usatf_discount / 100,
        "usatf_discount_additional_field": None if n % 50 else f"USATF/{n}",
        "giveaway": person.giveaway,
        "giveaway_option_id": person.giveaway_option_id,
        **asked("fundraisers", rows.fundraiser),
        **asked("bundles", rows.multi_race_bundle),
        "signed_waiver_details": rows.waivers(n) if "waivers" in include else None,
        "imported": person.imported,
        # A missing key means null, an empty list stays an empty list.
        "question_responses": rows.answers(n) if "questions" in include and n % 7 else None,
        "participant_addons": rows.addons(n) if "addons" in include else None,
    }


def _unless_blank(value: int | str | None) -> str | None:
    text = "" if value is None else str(value).replace("\x00", "")
    return text if text.strip() else None


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "") if "\x00" in value else value
    if isinstance(value, dict):
        return {key: _without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return value
