"""Exchanges, queues and bindings, as values. What is declared here is all there is.

    publisher ──▶ exchange `hub` (topic) ──▶ fetch.<provider>.<class>   commands to the fetcher
                                        ├──▶ write.<class>              records and ends of runs, to the writer
                                        ├──▶ watch                      diffs, to the bib-watcher
                                        └──▶ schedule                   outcomes, to the scheduler
    consumer ──later──▶ `hub.retry.<n>s` (fanout) ──▶ retry.<n>s ──TTL──▶ back to the one queue it came from
    consumer ──never──▶ exchange `hub.dead` ──▶ dead

Only arguments that RabbitMQ 3.10 to 4.3 treat alike are used.
"""

from dataclasses import dataclass
from functools import lru_cache

EXCHANGE = "hub"
DEAD_EXCHANGE = "hub.dead"
DEAD_QUEUE = "dead"

#: Classes of work, nearest first: each has a queue of its own at each stage, since quorum queues know no priority.
CLASSES = ("raceday", "near", "routine", "backfill")

#: Delays that a retry can have, in seconds. A TTL per message would only expire at the head of a queue.
RETRY_DELAYS = (1, 2, 5, 10, 20, 60, 120, 300, 600)

#: Broker redeliveries (crashed consumers) before a message is dead; retries by us are counted in our own header.
DELIVERY_LIMIT = 20

#: Larger messages are refused by the publisher: RabbitMQ 4 takes 16 MiB, and a batch of 500 people is 1 MiB.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue and the routing keys (topic patterns) that lead to it."""

    name: str
    bindings: tuple[str, ...]


def fetch_queue(provider: str, sync_class: str) -> str:
    """The queue in which a provider's sync requests of one class wait."""
    return f"fetch.{provider}.{sync_class}"


def fetch_queues(provider: str) -> tuple[str, ...]:
    """A provider's request queues, nearest class first."""
    return tuple(fetch_queue(provider, each) for each in CLASSES)


WRITE_QUEUES = tuple(f"write.{each}" for each in CLASSES)
WATCH_QUEUE = "watch"
SCHEDULE_QUEUE = "schedule"


def queues(providers: tuple[str, ...]) -> tuple[Queue, ...]:
    """Every queue that consumers of ours read, in the order of the way of a message."""
    fetch = tuple(
        Queue(fetch_queue(provider, each), (f"sync.request.v1.{provider}.{each}",))
        for provider in providers
        for each in CLASSES
    )
    write = tuple(
        Queue(
            f"write.{each}",
            (
                f"races.fetched.v1.{each}",
                f"participants.fetched.v1.{each}",
                f"participants.removed.v1.{each}",
                f"sync.fetched.v1.{each}",
                f"replay.request.v1.{each}",
            ),
        )
        for each in CLASSES
    )
    watch = Queue(WATCH_QUEUE, ("participants.changed.v1",))
    schedule = Queue(SCHEDULE_QUEUE, ("sync.completed.v1",))
    return (*fetch, *write, watch, schedule)


#: Facts that anyone may bind a queue of their own to; with nobody listening they are dropped, and that is no error.
OPTIONAL_TYPES = frozenset({"bib.changed.v1"})


def retry_queue(delay: int) -> str:
    """The queue in which a message waits ``delay`` seconds before it returns to where it came from."""
    return f"retry.{delay}s"


def retry_exchange(delay: int) -> str:
    """The fanout exchange in front of a retry queue; the routing key stays the queue to return to."""
    return f"hub.retry.{delay}s"


@lru_cache(maxsize=4096)
def matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic binding leads a routing key to its queue (``*`` is one word, ``#`` any number)."""

    def match(left: list[str], right: list[str]) -> bool:
        if not left:
            return not right
        if left[0] == "#":
            return any(match(left[1:], right[n:]) for n in range(len(right) + 1))
        return bool(right) and left[0] in {"*", right[0]} and match(left[1:], right[1:])

    return match(pattern.split("."), routing_key.split("."))
