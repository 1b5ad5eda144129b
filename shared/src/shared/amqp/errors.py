"""What aio_pika's exceptions mean to us. Nothing of the library leaves this package.

None of our sentences carries an exception's own text: a broker's answer can name users, and a library's can hold a
message. The name of the class is enough to look it up.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aio_pika import exceptions as pika
from aiormq import exceptions as rmq
from pamqp.exceptions import PAMQPException

from shared.errors import Later, Misconfigured, Never, SyncError

#: Each exception with what follows from it and, where one can be given, what to do. The nearest class in the
#: exception's own order of ancestors counts.
CONSEQUENCES: dict[type[BaseException], tuple[type[SyncError], str]] = {
    # 1. A person must act: the address, the user or the broker's set-up is wrong.
    rmq.AuthenticationError: (Misconfigured, "the broker offers no way to log in that we know"),
    rmq.ProbableAuthenticationError: (
        Misconfigured,
        "the broker refuses this user; check user and password in the broker's address",
    ),
    rmq.ConnectionNotAllowed: (
        Misconfigured,
        "the broker refuses this user or virtual host; check the broker's address and the user's permissions",
    ),
    rmq.ChannelAccessRefused: (
        Misconfigured,
        "this user may not do that in this virtual host; check its permissions",
    ),
    rmq.MethodNotImplemented: (Misconfigured, "this broker lacks something that RabbitMQ 3.10 has"),
    rmq.ConnectionNotImplemented: (Misconfigured, "this broker lacks something that RabbitMQ 3.10 has"),
    # 2. This message will never arrive.
    rmq.PublishError: (Never, "no queue is bound to its routing key"),
    # 3. The connection or the channel is gone, or was refused for now; a new one may do.
    rmq.AMQPError: (Later, ""),
    rmq.AMQPConnectionError: (Later, "the broker is away"),
    rmq.AMQPChannelError: (Later, ""),
    rmq.IncompatibleProtocolError: (Later, "the broker hung up while saying hello"),  # it does so while it starts
    rmq.ConnectionClosed: (Later, "the broker closed the connection"),
    rmq.ConnectionSyntaxError: (Later, ""),
    rmq.ConnectionFrameError: (Later, ""),
    rmq.ConnectionCommandInvalid: (Later, ""),
    rmq.ConnectionChannelError: (Later, ""),
    rmq.ConnectionUnexpectedFrame: (Later, ""),
    rmq.ConnectionResourceError: (Later, "the broker is out of something"),
    rmq.ConnectionInternalError: (Later, ""),
    rmq.ChannelClosed: (Later, "the broker closed the channel"),
    rmq.ChannelNotFoundEntity: (Later, "an exchange or a queue is missing"),  # declared again with the next channel
    rmq.ChannelLockedResource: (Later, "somebody else holds it"),
    rmq.ChannelPreconditionFailed: (Later, ""),  # also for a handler that took half an hour; see declare.py
    rmq.ChannelInvalidStateError: (Later, "the channel is closed"),
    rmq.DuplicateConsumerTag: (Later, ""),
    rmq.ProtocolSyntaxError: (Later, ""),
    rmq.InvalidFrameError: (Later, ""),
    rmq.DeliveryError: (Later, "the broker did not take it"),  # nack: a full or failing queue
    pika.MessageProcessError: (Later, ""),
    pika.QueueEmpty: (Later, ""),
    PAMQPException: (Later, ""),
    TimeoutError: (Later, "the broker did not answer in time"),
    OSError: (Later, "the broker cannot be reached"),
    RuntimeError: (Later, "the connection is not open"),
    # aiormq ends what waits on a dying channel with whatever it has, a bare Exception if nothing else.
    Exception: (Later, ""),
}


def translate(error: BaseException, doing: str) -> SyncError:
    """Make one of our errors of a foreign one, saying what was being done."""
    kind, advice = next(CONSEQUENCES[each] for each in type(error).__mro__ if each in CONSEQUENCES)
    sentence = f"{doing}: {advice}" if advice else f"{doing} failed ({type(error).__name__})"
    if kind is Never:
        return Never(sentence, reason="unroutable")
    return kind(sentence)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Let only our errors out: a foreign one becomes ours, with the foreign one as its cause.

    Cancellation passes, unless nobody asked for it: aiormq cancels what waits on a channel that dies.
    """
    try:
        yield
    except SyncError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Later(f"{doing}: the channel is closed") from error
    except Exception as error:
        raise translate(error, doing) from error
