"""What an operator of the stand-in may choose: limits, strictness, and what the reference leaves open."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

THROTTLE_FORMS = ("error_200", "json_429", "html_429", "date_429")


@dataclass(frozen=True, slots=True)
class Policy:
    """Changed over the control interface; every field may be sent to `POST /_sim/config`."""

    quota: int = 1_000
    """Calls per credential in any rolling hour."""
    in_flight: int = 2
    """Calls at once per caller registration (reference 4)."""
    on_quota: str = "throttle"
    """throttle or record: the violation is in the audit either way."""
    on_in_flight: str = "throttle"
    throttle_forms: tuple[str, ...] = THROTTLE_FORMS
    """The forms a refusal takes, in turn: the vendor's own is not established (reference 14)."""
    retry_after_seconds: int | None = None
    """What `Retry-After` says; None means the time until the call would fit."""
    caller_registration: str = "88.simulated-caller"
    caller_secret: str = "simulated-caller-secret"
    caller_required: bool = False
    """From 2027-01-01 calls without caller registration are rejected (reference 2.2)."""
    wrong_key_on_races: str = "refused"
    """refused (error 6) or anonymous (all public races): reference 18, question 12."""
    most_races: int = 1_000
    most_participants: int = 2_500
    most_removed: int = 1_000
    """Ceilings served silently when more is asked for. Lower them for a server that serves less than asked."""
    default_page: int = 50
    default_sort: str = "name ASC"
    """Not established (reference 18, question 4); deliberately not the order of ids."""
    wrapper: str | None = None
    """One form of reference 7.2 for every race, instead of each race's own."""
    empty_form: str | None = None
    latency_seconds: float = 0.0
    """How long every answer takes."""

    def changed(self, values: dict[str, Any]) -> Policy:
        """The policy with these fields replaced; raises ValueError for an unknown or ill-typed one."""
        known = {field.name for field in fields(self)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        forms = values.get("throttle_forms")
        if forms is not None:
            values = {**values, "throttle_forms": tuple(forms)}
            if not forms or not set(forms) <= set(THROTTLE_FORMS):
                raise ValueError(f"throttle_forms are some of {', '.join(THROTTLE_FORMS)}")
        for name, value in values.items():
            _check_type(name, value, getattr(Policy(), name))
        return replace(self, **values)


def _check_type(name: str, value: Any, default: Any) -> None:
    """A setting has the type of its default; where that is None, text or a number may be set."""
    if default is None or value is None:
        good = default is None and (value is None or isinstance(value, int | float | str))
    elif isinstance(default, float):
        good = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        good = type(value) is type(default)
    if not good:
        raise ValueError(f"{name} cannot be {value!r}")
