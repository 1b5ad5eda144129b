"""A seed's misfortunes, as values: what strikes whom, when, and for how long."""

from dataclasses import dataclass, field
from random import Random

from tests.chaos.service import MOMENTS, SERVICES

#: The storm lasts so long; what strikes is healed soon after its end.
STORM_SECONDS = 16.0

#: Who can be killed, and in the middle of what.
DEATHS = tuple(SERVICES) + tuple(f"{service}.{moment}" for moment, them in MOMENTS.items() for service in them)

#: Misfortunes of the infrastructure, and how long each may last. Of those at a door, one service may suffer alone.
INFRASTRUCTURE = {
    "broker_killed": (0.3, 1.5),
    "broker_memory_alarm": (1.0, 3.0),
    "broker_cut": (0.3, 2.5),
    "broker_silent": (1.0, 4.0),
    "database_cut": (0.3, 2.5),
    "database_silent": (1.0, 4.0),
    "database_restarted": (0.0, 0.0),
    "database_read_only": (1.0, 3.0),
    "database_full": (1.0, 3.0),
}
AT_A_DOOR = ("broker_cut", "broker_silent", "database_cut", "database_silent")

#: What happens to the partners, not to the machines; each ends after its seconds.
OTHERS = {
    "message_lost": (0.0, 0.0),  # confirmed by the broker, and gone
    "budget_spent": (5.0, 6.0),  # one key has two calls left in its hour
    "race_away": (3.0, 5.0),  # it leaves the provider's list, and returns
    "right_withdrawn": (3.0, 5.0),  # the key may not read a race for a while
}

#: Faults of the provider: (kind, details).
FAULTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("http_500", {"times": 3}),
    ("http_503", {"times": 3, "retry_after": "1"}),
    ("page_522", {"times": 3}),
    ("slow", {"times": 2, "seconds": 1.5}),
    ("slow", {"times": 2, "seconds": 1.5, "late_date": True}),
    ("slow", {"times": 1, "seconds": 6.0}),  # longer than a call may last
    ("reset", {"times": 3}),
    ("cut_body", {"times": 3}),
    ("html_200", {"times": 3}),
    ("wrong_content_type", {"times": 3}),
    ("duplicate_row", {"times": 5, "endpoint": "participants"}),
    ("missing_keys", {"times": 3, "endpoint": "participants"}),
    ("extra_keys", {"times": 5, "endpoint": "participants"}),
    ("error_body", {"times": 2, "code": 5}),
    ("error_body", {"times": 2, "code": 14}),  # too many calls
    ("error_body", {"times": 1, "code": 17}),  # the caller registration is refused
    ("error_body", {"times": 2, "shape": "text"}),
    ("short_page", {"times": 3, "endpoint": "participants"}),
    ("empty_answer", {"times": 2, "endpoint": "participants"}),
    ("empty_answer", {"times": 1, "endpoint": "races"}),
    ("no_date_header", {"times": 10}),
    ("clock_skew", {"times": 10, "seconds": 120}),
    ("clock_skew", {"times": 10, "seconds": -120}),
    ("bad_row", {"times": 7, "endpoint": "participants"}),
    ("bad_json", {"times": 3}),
    ("deep_json", {"times": 2}),
    ("redirect", {"times": 2}),
    ("huge_body", {"times": 1, "megabytes": 65}),
    ("gzip_bomb", {"times": 1, "megabytes": 65}),
)
#: What these tell is false and looks true, so no pass of changes can notice; the next full pass repairs it.
LIES = frozenset({"missing_keys", "short_page", "empty_answer", "bad_row"})


@dataclass(frozen=True, slots=True)
class Strike:
    """One misfortune."""

    at: float  # seconds after the partners were entered
    kind: str
    target: str = ""
    seconds: float = 0.0
    details: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        details = "".join(f" {name}={value}" for name, value in self.details)
        return f"{self.at:5.1f} s  {self.kind} {self.target}{lasting}{details}".rstrip()


@dataclass(frozen=True, slots=True)
class Storm:
    """Everything that a seed has in store."""

    seed: int
    strikes: tuple[Strike, ...]
    replicas: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 1))
    clock_offset: float = 0.0  # the provider's clock against the database's, in seconds
    skews: tuple[float, ...] = (0.0,)  # our machines' clocks against the database's; each process has one of them
    begins_loaded: bool = False  # the storm begins when every race is loaded, instead of at once
    full_passes: bool = False  # every few seconds, instead of each night
    seconds: float = STORM_SECONDS
    patience: float = 60.0  # how long an order to die waits for somebody at that moment, a fault for a call it strikes
    quiet: float = 90.0  # how long the hub has to be in step again: a busy machine is slow, which is no defect
    world: tuple[str, ...] = ()  # options of the simulator; none: the storm's own world
    kinds: tuple[str, ...] = ()  # of what happens at the provider all the while; none: the whole of a race morning
    settings: tuple[tuple[str, str], ...] = ()  # of the services, beside the storm's own
    without: str = ""  # a guard that is switched off: what the storm must notice

    @property
    def lies(self) -> bool:
        """Whether the provider tells something that only a full pass can put right."""
        return any(each.kind == "fault" and each.target in LIES for each in self.strikes)


def plan(seed: int, seconds: float = STORM_SECONDS) -> Storm:
    """The misfortunes of a seed, in order; the same seed, the same storm."""
    draw = Random(seed)
    strikes = [
        Strike(draw.uniform(0.3, seconds * 0.75), "killed", target)
        for target in draw.sample(DEATHS, draw.randint(3, 4))
    ]
    # One or two of the infrastructure, apart from one another: together they last no longer, they only say less.
    for place, kind in enumerate(draw.sample(sorted(INFRASTRUCTURE), draw.randint(1, 2))):
        lasting = draw.uniform(*INFRASTRUCTURE[kind])
        whose = draw.choice(("", *SERVICES)) if kind in AT_A_DOOR else ""
        at = seconds * (draw.uniform(0.05, 0.3) + place * 0.4)
        strikes.append(Strike(at, kind, whose, lasting))
    strikes += [
        Strike(draw.uniform(0.1, 0.6) * seconds, kind, seconds=draw.uniform(*OTHERS[kind]))
        for kind in draw.sample(sorted(OTHERS), draw.randint(0, 2))
    ]
    for kind, details in draw.sample(FAULTS, draw.randint(3, 5)):
        at = draw.uniform(0.0, 0.6) * seconds
        strikes.append(Strike(at, "fault", kind, details=tuple(sorted(details.items()))))
    return Storm(
        seed=seed,
        strikes=tuple(sorted(strikes, key=lambda each: each.at)),
        replicas=_replicas(draw),
        clock_offset=draw.choice((0.0, -180.0, 180.0)),
        skews=tuple(draw.choice((0.0, -240.0, 240.0, 60.0)) for _ in range(4)),
        full_passes=draw.random() < 0.4,
        seconds=seconds,
    )


def _replicas(draw: Random) -> dict[str, int]:
    """One to three of each service, eight processes at the most: two cores carry no more."""
    chosen = dict.fromkeys(SERVICES, 1)
    for service in draw.sample(SERVICES, 4):
        chosen[service] = min(draw.choice((1, 2, 3)), 8 - sum(chosen.values()) + 1)
    return chosen
