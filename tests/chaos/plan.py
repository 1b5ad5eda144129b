"""A seed's misfortunes, as values: what strikes whom, when, and for how long."""

from dataclasses import dataclass
from random import Random

#: The storm lasts so long; what strikes is healed before its end.
STORM_SECONDS = 20.0
SERVICES = ("scheduler", "fetcher", "writer", "bib_watcher")

#: Misfortunes of the infrastructure, and how long each may last.
INFRASTRUCTURE = {
    "broker_killed": (0.5, 2.0),
    "broker_memory_alarm": (2.0, 4.0),
    "broker_cut": (0.5, 3.0),
    "database_cut": (0.5, 3.0),
    "database_restarted": (0.0, 0.0),
    "database_read_only": (1.0, 3.0),
    "database_full": (1.0, 3.0),
}

#: Faults of the provider: (kind, details).
FAULTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("http_500", {"times": 3}),
    ("http_503", {"times": 3, "retry_after": 1}),
    ("page_522", {"times": 3}),
    ("slow", {"times": 2, "seconds": 1.5}),
    ("reset", {"times": 3}),
    ("cut_body", {"times": 3}),
    ("html_200", {"times": 3}),
    ("wrong_content_type", {"times": 3}),
    ("duplicate_row", {"times": 5, "endpoint": "participants"}),
    ("missing_keys", {"times": 0}),
    ("extra_keys", {"times": 5, "endpoint": "participants"}),
    ("error_body", {"times": 2, "code": 5}),
    ("short_page", {"times": 3, "endpoint": "participants"}),
    ("empty_answer", {"times": 2, "endpoint": "participants"}),
    ("no_date_header", {"times": 10}),
    ("bad_json", {"times": 3}),
    ("deep_json", {"times": 2}),
    ("redirect", {"times": 2}),
    ("gzip_bomb", {"times": 1}),
)
#: Left out of the draw: their damage is in the data for good, so that nobody could be identical afterwards.
DAMAGING = {"missing_keys"}


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
    replicas: dict[str, int]
    clock_offset: float  # the provider's clock against ours, in seconds
    strikes: tuple[Strike, ...]


def plan(seed: int) -> Storm:
    """The misfortunes of a seed, in order; the same seed, the same storm."""
    draw = Random(seed)
    strikes = [
        Strike(draw.uniform(0.3, STORM_SECONDS * 0.8), "killed", service)
        for service in draw.sample(SERVICES, draw.randint(2, 4))
    ]
    # One or two of the infrastructure, apart from one another: together they last no longer, they only say less.
    for place, kind in enumerate(draw.sample(sorted(INFRASTRUCTURE), draw.randint(1, 2))):
        lasting = draw.uniform(*INFRASTRUCTURE[kind])
        strikes.append(Strike(draw.uniform(1.0, 5.0) + place * 8.0, kind, seconds=lasting))
    sound = [each for each in FAULTS if each[0] not in DAMAGING]
    for kind, details in draw.sample(sound, draw.randint(3, 5)):
        strikes.append(
            Strike(draw.uniform(0.0, STORM_SECONDS * 0.6), "fault", kind, details=tuple(sorted(details.items())))
        )
    return Storm(
        seed=seed,
        replicas={service: draw.choice((1, 1, 2, 3) if service == "fetcher" else (1, 1, 2)) for service in SERVICES},
        clock_offset=draw.choice((0.0, 0.0, -180.0, 180.0)),
        strikes=tuple(sorted(strikes, key=lambda each: each.at)),
    )
