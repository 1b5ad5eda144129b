"""What to ask RunSignUp, as values: paths and parameters, never a credential.

An unknown or mistyped parameter is ignored by RunSignUp without a word, so every name here is the vendor's own,
and what comes back is checked against what was asked (`readers.check_page`).
"""

from collections.abc import Collection, Iterable
from datetime import date

from shared.errors import Never
from shared.providers.port import Call
from shared.providers.runsignup.capabilities import CAPABILITIES
from shared.providers.runsignup.spelling import identifier

# runsignup.com/API/DocOverview: the format defaults to XML.
JSON = ("format", "json")

# The order in which keyset paging can lose nobody.
ASCENDING = ("sort", "registration_id ASC")

# runsignup.com/API/race/:race_id/participants: without it, gender X arrives as null.
NON_BINARY = ("supports_nb", "T")

# runsignup.com/API/race/:race_id/participants: the extras, each by the word that operators use.
INCLUDE = {
    "questions": "include_questions",
    "addons": "include_registration_addons",
    "fundraisers": "include_fundraisers",
    "bundles": "include_multi_race_bundle_info",
    "waivers": "include_multiple_waivers",  # signed_waiver_details come with this one only
}


def ask_races(*, page: int, start_date: date) -> Call:
    """All races of a credential with their current events, from a day on (runsignup.com/API/races).

    Without ``start_date`` a race would vanish from the list on the day after it was run.
    """
    return Call(
        "/races",
        (
            JSON,
            ("events", "T"),
            ("include_event_days", "T"),
            ("results_per_page", str(CAPABILITIES.races_page_size)),
            ("page", str(page)),
            ("start_date", start_date.isoformat()),
        ),
    )


def ask_race(race_id: str) -> Call:
    """One race with every event that it ever had (runsignup.com/API/race/:race_id); a list shows the current ones."""
    return Call(f"/race/{_race(race_id)}", (JSON, ("include_event_days", "T")))


def ask_participants(
    race_id: str,
    event_ids: Iterable[str],
    *,
    after_id: int | None = None,
    modified_after: int | None = None,
    page_size: int = CAPABILITIES.page_size,
    include: Collection[str] = (),
) -> Call:
    """The active people of several events of one race (runsignup.com/API/race/:race_id/participants).

    ``modified_after`` is inclusive, despite the vendor's name for it, and in Unix seconds.
    """
    filters = _filters(after_id, modified_after)
    return Call(f"/race/{_race(race_id)}/participants", (*_people(event_ids, page_size), *filters, *_extras(include)))


def ask_removed(
    race_id: str,
    event_ids: Iterable[str],
    *,
    after_id: int | None = None,
    modified_after: int | None = None,
) -> Call:
    """The people who left their events (runsignup.com/API/race/:race_id/removed-participants)."""
    return Call(
        f"/race/{_race(race_id)}/removed-participants",
        (
            *_people(event_ids, CAPABILITIES.removals_page_size),
            ("condensed_format", "F"),
            *_filters(after_id, modified_after),
        ),
    )


def ask_bib(race_id: str, event_ids: Iterable[str], number: str, *, include: Collection[str] = ()) -> Call:
    """Who wears this bib; the vendor searches whole numbers only (runsignup.com/API/race/:race_id/participants)."""
    digits = number.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise Never("RunSignUp finds bibs by whole number only; this one is not", reason="bib_not_a_number")
    return Call(
        f"/race/{_race(race_id)}/participants",
        (*_people(event_ids, CAPABILITIES.page_size), ("search_bib", digits), *_extras(include)),
    )


def ask_bib_ranges(race_id: str, edition_id: str) -> Call:
    """Which bibs the events of one edition give out (runsignup.com/API/race/:race_id/get-bib-validation-settings)."""
    edition = identifier(edition_id)
    if edition is None:
        raise Never("RunSignUp's editions are known by whole numbers; this one is not", reason="edition_id")
    return Call(f"/race/{_race(race_id)}/get-bib-validation-settings", (JSON, ("race_event_days_id", edition)))


def _race(race_id: str) -> str:
    identity = identifier(race_id)
    if identity is None:
        raise Never("A RunSignUp race is known by a whole number; this one is not", reason="race_id")
    return identity


def _people(event_ids: Iterable[str], page_size: int) -> tuple[tuple[str, str], ...]:
    """What every question about people says: one comma list, so one call serves all events of a race."""
    identities = [identifier(event_id) for event_id in event_ids]
    known = [identity for identity in identities if identity is not None]
    if not known or len(known) < len(identities):
        raise Never("RunSignUp's events are known by whole numbers, at least one a call", reason="event_ids")
    return (
        JSON,
        ("event_id", ",".join(dict.fromkeys(known))),
        ("results_per_page", str(page_size)),
        ASCENDING,
        NON_BINARY,
    )


def _extras(include: Collection[str]) -> tuple[tuple[str, str], ...]:
    if unknown := set(include) - INCLUDE.keys():
        raise Never(
            f"{len(unknown)} unknown word(s) for what to include; known are: {', '.join(INCLUDE)}",
            reason="unknown_include",
        )
    return tuple((flag, "T") for word, flag in INCLUDE.items() if word in include)


def _filters(after_id: int | None, modified_after: int | None) -> tuple[tuple[str, str], ...]:
    filters: list[tuple[str, str]] = []
    if after_id:  # 0: from the first one on
        filters.append(("after_registration_id", str(after_id)))
    if modified_after is not None:
        # A text date here once returned nothing, and looked healthy: seconds, and nothing else.
        if type(modified_after) is not int or modified_after < 0:
            raise Never("modified_after is in whole Unix seconds", reason="modified_after")
        filters.append(("modified_after_timestamp", str(modified_after)))
    return tuple(filters)
