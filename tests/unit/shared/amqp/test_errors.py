import asyncio
import inspect
from types import ModuleType

import aio_pika.exceptions
import aiormq.exceptions
import pytest
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ConnectionClosed, ProbableAuthenticationError

from shared.amqp.errors import CONSEQUENCES, translate, translated
from shared.errors import Later, Misconfigured, Never


def exceptions_of(module: ModuleType) -> list[type[BaseException]]:
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseException) and each.__module__.split(".")[0] in {"aio_pika", "aiormq"}
    ]


@pytest.mark.parametrize(
    "kind",
    sorted({*exceptions_of(aio_pika.exceptions), *exceptions_of(aiormq.exceptions)}, key=str),
)
def test_every_exception_of_the_library_is_accounted_for(kind: type[BaseException]) -> None:
    """When this fails after an update, add the new one to the table with what should follow from it."""
    assert kind in CONSEQUENCES


def test_a_future_exception_of_the_library_counts_as_its_nearest_ancestor() -> None:
    class NewAuthenticationError(ProbableAuthenticationError):
        pass

    assert isinstance(translate(NewAuthenticationError("x"), "connecting"), Misconfigured)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), Later),
        (ConnectionRefusedError("amqp://user:hunter2@host"), Later),
        (ConnectionClosed(320, "hunter2"), Later),
        (ChannelAccessRefused("access to queue 'x' refused for user 'hunter2'"), Misconfigured),
        (ValueError("hunter2"), Later),
        (AMQPError("hunter2"), Later),
    ],
)
def test_a_foreign_error_becomes_ours_without_its_own_words(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised, translated("publishing a m1"):
        raise error
    assert "hunter2" not in str(raised.value)
    assert "publishing a m1" in str(raised.value)
    assert raised.value.__cause__ is error


def test_our_own_errors_pass_unchanged() -> None:
    error = Never("no")
    with pytest.raises(Never) as raised, translated("x"):
        raise error
    assert raised.value is error


async def test_a_cancellation_that_nobody_asked_for_is_later() -> None:
    with pytest.raises(Later), translated("publishing"):
        raise asyncio.CancelledError


async def test_a_cancellation_of_ours_passes() -> None:
    async def wait() -> None:
        with translated("publishing"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
