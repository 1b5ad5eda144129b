"""What can happen to a registration (reference 7 to 10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import names
from .change import Change
from .model import Event, Race, Registration, Runner
from .people import invent_registration, invent_runner, price_list
from .targets import Impossible, copies_of, has_bib, open_events, pick_event, pick_person
from .world import World

if TYPE_CHECKING:
    from .mutations import Asked

PersonChange = Callable[[World, Race, "Asked", float], list[Change]]

CLEARING_SECONDS = 900
"""A registrant can undo a registration for a quarter of an hour (reference 8)."""
HOSTILE_SHARE = 0.03


def registered(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Somebody new. A bundle makes a registration in each of its sub-events too."""
    event = pick_event(world, race, now, asked.event_id)
    id_ = world.new_registration_id()
    runner = invent_runner(world.random, id_ - 6_500_000, race, HOSTILE_SHARE)
    first = _register(world, race, event, id_, runner_of=runner, now=now)
    done = [Change("registered", race.race_id, event.event_id, id_)]
    for sub in (event for event in race.events if event.event_id in _event(race, first.event_id).sub_event_ids):
        copy_id = world.new_registration_id()
        _register(world, race, sub, copy_id, runner_of=runner, now=now, via=id_)
        done.append(Change("registered", race.race_id, sub.event_id, copy_id))
    return done


def edited(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    person = _somebody(world, race, asked, now)
    runner, n = person.runner, world.random.randrange(10_000)
    what = asked.what or world.random.choice(
        ("first_name", "last_name", "phone", "email", "address", "dob", "gender", "team")
    )
    if what == "team":
        team = person.team._replace(team_name=f"{person.team.team_name} ({n})") if person.team else None
        changed = person._replace(team=team, giveaway=person.giveaway if team else f"Edited {n}")
        before, after = (person.team and person.team.team_name), (team and team.team_name)
    else:
        values: dict[str, dict[str, Any]] = {
            "first_name": {"first_name": world.random.choice((*names.FIRST, *names.HOSTILE_FIRST)) + f" {n}"},
            "last_name": {"last_name": f"{world.random.choice(names.LAST)}-{n}"},
            "phone": {"phone": f"555-020-{n:04d}", "absent": runner.absent - {"phone"}},
            "email": {"email": f"changed{person.registration_id}.{n}@example.com", "absent": runner.absent - {"email"}},
            "address": {"street": f"{n} New St", "city": "Bayport", "state": "NJ"},
            "dob": {"dob": f"19{n % 90 + 10}-03-0{n % 9 + 1}"},
            "gender": {"gender": "X" if runner.gender != "X" else "F", "absent": runner.absent - {"gender"}},
        }
        if what not in values:
            raise ValueError(f"cannot edit {what}; there are {', '.join(values)} and team")
        field = next(iter(values[what]))
        changed = person._replace(runner=runner._replace(**values[what]))
        before, after = getattr(runner, field), getattr(changed.runner, field)
    _touch(world, race, changed, now)
    return [Change("edited", race.race_id, person.event_id, person.registration_id, before, after)]


def bib_given(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    person = _somebody(world, race, asked, now, lambda p: not has_bib(p))
    return _set_bib(
        world, race, person, kind="bib_given", bib=asked.bib or _next_bib(world, race, person.event_id), now=now
    )


def bib_changed(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    person = _somebody(world, race, asked, now, has_bib)
    return _set_bib(
        world, race, person, kind="bib_changed", bib=asked.bib or _next_bib(world, race, person.event_id), now=now
    )


def bib_cleared(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Null for most, an empty text for some."""
    person = _somebody(world, race, asked, now, has_bib)
    return _set_bib(world, race, person, kind="bib_cleared", bib=world.random.choice((None, None, "")), now=now)


def bib_swapped(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Two people of one event exchange their bibs, with the same `last_modified`."""
    one = _somebody(world, race, asked, now, lambda p: has_bib(p) and p.via_registration_id is None)
    other = pick_person(
        world,
        race,
        [one.event_id],
        lambda p: has_bib(p) and p.bib != one.bib and p.via_registration_id is None,
    )
    return [
        *_set_bib(world, race, one, kind="bib_swapped", bib=other.bib, now=now),
        *_set_bib(world, race, other, kind="bib_swapped", bib=one.bib, now=now),
    ]


def bib_given_twice(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Somebody gets a bib that another person of the event wears already: bibs are not unique (quirk 17)."""
    person = _somebody(world, race, asked, now)
    owner = pick_person(world, race, [person.event_id], lambda p: has_bib(p) and p.bib != person.bib)
    return _set_bib(world, race, person, kind="bib_given_twice", bib=owner.bib, now=now)


def checked_in(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Whether a check-in moves `last_modified` is not known (reference 18, question 8); here it does not."""
    person = _somebody(world, race, asked, now, lambda p: p.checked_in_at is None)
    world.put(race.race_id, person._replace(checked_in_at=int(now)))
    return [Change("checked_in", race.race_id, person.event_id, person.registration_id, None, int(now))]


def refunded(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    return _remove(world, race, _somebody(world, race, asked, now), kind="refunded", reason="removed", now=now)


def deferred(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    return _remove(world, race, _somebody(world, race, asked, now), kind="deferred", reason="deferred", now=now)


def cleared(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Undone within a quarter of an hour; where nobody is that new, somebody registers first."""
    done: list[Change] = []
    try:
        person = _somebody(world, race, asked, now, lambda p: p.registered_at > now - CLEARING_SECONDS)
    except Impossible:
        done = registered(world, race, asked, now)
        person = world.roster(race.race_id)[done[0].registration_id or 0]
    return [*done, *_remove(world, race, person, kind="cleared", reason="cleared", now=now)]


def transferred(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Moved to another event: a new registration with a new id, which the old one names (reference 8)."""
    plain = [event for event in open_events(world, race, now) if not event.sub_event_ids]
    person = _somebody(
        world,
        race,
        asked,
        now,
        lambda p: (
            p.via_registration_id is None
            and not _event(race, p.event_id).sub_event_ids
            and any(event.event_id != p.event_id for event in plain)
        ),
    )
    others = [event for event in plain if event.event_id != person.event_id]
    target = _event(race, asked.to_event_id) if asked.to_event_id is not None else world.random.choice(others)
    new_id = world.new_registration_id()
    _register(world, race, target, new_id, runner_of=person.runner, now=now)
    gone = person._replace(removed_reason="transferred", new_registration_id=new_id)
    _touch(world, race, gone, now)
    return [
        Change(
            "transferred",
            race.race_id,
            person.event_id,
            person.registration_id,
            person.event_id,
            target.event_id,
            new_id,
        ),
        Change("registered", race.race_id, target.event_id, new_id),
    ]


def restored(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """The same registration is back, with a newer `last_modified`, and no longer in the removed list."""
    person = _somebody(world, race, asked, now, lambda p: p.new_registration_id is None, active=False)
    done = []
    for back in (person, *copies_of(world, race, person)):
        _touch(world, race, back._replace(removed_reason=None), now)
        done.append(Change("restored", race.race_id, back.event_id, back.registration_id, back.removed_reason, None))
    return done


def removed_edited(world: World, race: Race, asked: Asked, now: float) -> list[Change]:
    """Removed people can still be edited; changes to team, bib and chip would be dropped (quirk 30)."""
    person = _somebody(world, race, asked, now, active=False)
    phone = f"555-030-{world.random.randrange(10_000):04d}"
    runner = person.runner._replace(phone=phone, absent=person.runner.absent - {"phone"})
    _touch(world, race, person._replace(runner=runner), now)
    return [Change("removed_edited", race.race_id, person.event_id, person.registration_id, person.runner.phone, phone)]


def _somebody(
    world: World,
    race: Race,
    asked: Asked,
    now: float,
    fits: Callable[[Registration], bool] = lambda _: True,
    *,
    active: bool = True,
) -> Registration:
    """The registration that was asked for, else anybody who fits in the event or the open events."""
    if asked.registration_id is not None:
        person = world.roster(race.race_id).get(asked.registration_id)
        if person is None or person.active != active:
            raise Impossible(f"registration {asked.registration_id} is not {'active' if active else 'removed'} here")
        return person
    events = [asked.event_id] if asked.event_id is not None else [e.event_id for e in open_events(world, race, now)]
    return pick_person(world, race, events, fits, active=active)


def _register(
    world: World, race: Race, event: Event, id_: int, *, runner_of: Runner, now: float, via: int | None = None
) -> Registration:
    person = invent_registration(
        world.random,
        race,
        event,
        id_,
        registered_at=int(now) // 60 * 60,
        runner=runner_of,
        now=now,
        bib=None,
        payments=price_list(event),
    )
    person = person._replace(via_registration_id=via, last_modified=int(now), bib=None)
    return world.put(race.race_id, person)


def _touch(world: World, race: Race, person: Registration, now: float) -> None:
    world.put(race.race_id, person._replace(last_modified=int(now)))


def _set_bib(
    world: World, race: Race, person: Registration, *, kind: str, bib: int | str | None, now: float
) -> list[Change]:
    """Gives the bib; a bundle's copies wear it too."""
    done = []
    for wearer in (person, *copies_of(world, race, person)):
        _touch(world, race, wearer._replace(bib=bib), now)
        done.append(Change(kind, race.race_id, wearer.event_id, wearer.registration_id, wearer.bib, bib))
    return done


def _remove(world: World, race: Race, person: Registration, *, kind: str, reason: str, now: float) -> list[Change]:
    """Leaves the event; a bundle's copies leave with it."""
    done = []
    for gone in (person, *copies_of(world, race, person)):
        _touch(world, race, gone._replace(removed_reason=reason), now)
        done.append(Change(kind, race.race_id, gone.event_id, gone.registration_id, None, reason))
    return done


def _next_bib(world: World, race: Race, event_id: int) -> int:
    roster = world.roster(race.race_id)
    event = _event(race, event_id)
    first = event.first_bib + roster.count(event_id) + roster.count(event_id, active=False)
    number = max(first, world.next_bibs.get(event_id, 0))
    world.next_bibs[event_id] = number + 1
    return number


def _event(race: Race, event_id: int | None) -> Event:
    for event in race.events:
        if event.event_id == event_id:
            return event
    raise Impossible(f"race {race.race_id} has no event {event_id}")
