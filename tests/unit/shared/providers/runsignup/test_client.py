"""The client adds the keys, asks once, and lets no address out."""

import asyncio
import gzip
import logging
import traceback
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from shared.errors import Misconfigured
from shared.providers.port import Answer, Call, Consequence, Credential, ProviderFailure
from shared.providers.runsignup import client as client_module
from shared.providers.runsignup.client import TRANSPORT_ERRORS, RunSignUpClient

BASE = "https://api.runsignup.com/rest"
CALL = Call("/race/81001/participants", (("format", "json"), ("sort", "registration_id ASC"), ("event_id", "1,2")))
KEY, SECRET, TOKEN, TOKEN_SECRET = "marker-key", "marker-secret", "12.marker-token", "marker-token-secret"
CREDENTIAL = Credential(KEY, SECRET)

Handler = Callable[[httpx.Request], httpx.Response]


async def ask(
    handler: Handler,
    *,
    credential: Credential = CREDENTIAL,
    caller: tuple[str, str] | None = None,
    timeout_seconds: float = 5.0,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Answer:
    client = RunSignUpClient(
        BASE, caller=caller, timeout_seconds=timeout_seconds, transport=transport or httpx.MockTransport(handler)
    )
    try:
        return await client.ask(CALL, credential)
    finally:
        await client.close()


async def failure_of(handler: Handler, **options: object) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await ask(handler, **options)  # type: ignore[arg-type]  # a test's options, passed on
    return caught.value


class Recorder:
    def __init__(self, response: httpx.Response | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.response = response

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.response or httpx.Response(200, content=b"[]", headers={"Date": "now"})


async def test_an_answer_comes_back_unread() -> None:
    answer = await ask(lambda request: httpx.Response(503, content=b"<html>", headers={"Retry-After": "5"}))
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, b"<html>", "5")


async def test_the_question_is_asked_below_the_base_address() -> None:
    recorder = Recorder()
    await ask(recorder)
    (request,) = recorder.requests
    assert request.method == "GET"
    assert str(request.url).startswith(f"{BASE}/race/81001/participants?format=json&sort=registration_id")
    assert request.url.params["sort"] == "registration_id ASC"
    assert request.url.params["event_id"] == "1,2"
    assert request.headers["accept-encoding"] == "gzip"


async def test_a_v1_pair_goes_into_the_query() -> None:
    recorder = Recorder()
    await ask(recorder)
    assert recorder.requests[0].url.params["api_key"] == KEY
    assert recorder.requests[0].url.params["api_secret"] == SECRET


async def test_a_v2_secret_goes_into_a_header() -> None:
    recorder = Recorder()
    await ask(recorder, credential=Credential(KEY, SECRET, "v2"))
    (request,) = recorder.requests
    assert request.url.params["rsu_api_key"] == KEY
    assert request.headers["x-rsu-api-secret"] == SECRET
    assert SECRET not in str(request.url)


async def test_the_caller_registration_goes_with_every_call() -> None:
    recorder = Recorder()
    await ask(recorder, caller=(TOKEN, TOKEN_SECRET))
    (request,) = recorder.requests
    assert request.url.params["rsu_api_reg"] == TOKEN
    assert request.headers["x-rsu-api-reg-secret"] == TOKEN_SECRET


async def test_without_a_caller_registration_none_is_sent() -> None:
    """An unknown one fails every call of every partner."""
    recorder = Recorder()
    await ask(recorder)
    assert "rsu_api_reg" not in recorder.requests[0].url.params


@pytest.mark.parametrize(
    "credential", [Credential("", SECRET), Credential(KEY, "a\nb"), Credential(KEY, "é"), Credential(KEY, SECRET, "v9")]
)
async def test_a_key_that_cannot_be_sent_is_not_sent(credential: Credential) -> None:
    recorder = Recorder()
    failure = await failure_of(recorder, credential=credential)
    assert (failure.code, failure.consequence, recorder.requests) == ("key_form", Consequence.CREDENTIAL, [])


async def test_a_redirect_is_not_followed() -> None:
    recorder = Recorder(httpx.Response(302, headers={"Location": "https://evil.example.com/"}))
    assert (await ask(recorder)).status == 302
    assert len(recorder.requests) == 1


async def test_a_cookie_of_one_call_does_not_go_with_the_next() -> None:
    recorder = Recorder(httpx.Response(200, content=b"[]", headers={"Set-Cookie": "session=marker; Path=/"}))
    client = RunSignUpClient(BASE, transport=httpx.MockTransport(recorder))
    await client.ask(CALL, CREDENTIAL)
    await client.ask(CALL, Credential("other", "other"))
    assert "cookie" not in recorder.requests[1].headers
    await client.close()


def test_every_error_of_httpx_has_its_word() -> None:
    raised = [
        kind for name in httpx.__all__ if isinstance(kind := getattr(httpx, name), type) and issubclass(kind, Exception)
    ]
    assert len(raised) > 20
    unmapped = [kind.__name__ for kind in raised if not issubclass(kind, tuple(kind for kind, _ in TRANSPORT_ERRORS))]
    assert unmapped == []


def test_the_most_specific_error_stands_first() -> None:
    kinds = [kind for kind, _ in TRANSPORT_ERRORS]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:place])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectTimeout, "unreachable"), (httpx.ReadTimeout, "timeout"), (httpx.PoolTimeout, "timeout"),
        (httpx.ConnectError, "unreachable"), (httpx.ReadError, "interrupted"), (httpx.ProxyError, "proxy"),
        (httpx.RemoteProtocolError, "interrupted"), (httpx.DecodingError, "encoding"),
        (ConnectionResetError, "interrupted"),
    ],
)  # fmt: skip
async def test_a_call_without_answer_is_tried_again_later_and_tells_no_address(
    error: type[Exception], code: str
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(f"while asking {request.url}")

    failure = await failure_of(fail, caller=(TOKEN, TOKEN_SECRET))
    assert (failure.code, failure.consequence) == (code, Consequence.LATER)
    told = "".join(traceback.format_exception(failure)) + repr(failure) + repr(vars(failure))
    assert "marker" not in told
    assert failure.__cause__ is None
    assert failure.__context__ is None


async def test_a_call_ends_after_its_time_even_when_bytes_keep_coming() -> None:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.001)

    failure = await failure_of(lambda request: httpx.Response(200, stream=Drip()), timeout_seconds=0.05)
    assert (failure.code, failure.consequence) == ("timeout", Consequence.LATER)


async def test_being_cancelled_is_no_failure() -> None:
    async def wait(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.ensure_future(ask(Recorder(), transport=httpx.MockTransport(wait)))
    await asyncio.sleep(0.01)  # the call is under way; a millisecond would do
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_body_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LARGEST_BODY", 1_000)
    failure = await failure_of(lambda request: httpx.Response(200, content=b"x" * 1_001))
    assert failure.code == "too_large"
    assert len((await ask(lambda request: httpx.Response(200, content=b"x" * 1_000))).body) == 1_000


async def test_a_small_body_that_unpacks_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LARGEST_BODY", 1_000_000)
    packed = gzip.compress(bytes(50_000_000))

    class Stream(httpx.AsyncByteStream):
        sent = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for place in range(0, len(packed), 1_000):
                Stream.sent += 1
                yield packed[place : place + 1_000]

    failure = await failure_of(
        lambda request: httpx.Response(200, stream=Stream(), headers={"Content-Encoding": "gzip"})
    )
    assert failure.code == "too_large"
    assert Stream.sent < 5


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd"])
async def test_a_packing_that_was_not_asked_for_is_refused(encoding: str) -> None:
    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b""
            raise AssertionError("the body is not read")

    failure = await failure_of(
        lambda request: httpx.Response(200, stream=Stream(), headers={"Content-Encoding": encoding})
    )
    assert failure.code == "encoding"


async def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(b"[]")
    assert (
        await ask(lambda request: httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"}))
    ).body == b"[]"


async def test_a_torn_packing_is_a_failure() -> None:
    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"no gzip at all"

    failure = await failure_of(
        lambda request: httpx.Response(200, stream=Stream(), headers={"Content-Encoding": "gzip"})
    )
    assert failure.code == "encoding"


async def test_no_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    await ask(Recorder(), caller=(TOKEN, TOKEN_SECRET))
    assert "marker" not in caplog.text


@pytest.mark.parametrize(
    "address", ["", "runsignup.com/rest", "ftp://runsignup.com", "https://", "https://u:marker@runsignup.com/rest",
                "https://runsignup.com/rest?x=marker", "http://[", "x" * 100_000]
)  # fmt: skip
def test_a_base_address_that_makes_no_sense_is_a_misconfiguration(address: str) -> None:
    with pytest.raises(Misconfigured, match="must look like") as caught:
        RunSignUpClient(address)
    assert "marker" not in str(caught.value)


def test_half_a_caller_registration_is_a_misconfiguration() -> None:
    with pytest.raises(Misconfigured, match="both"):
        RunSignUpClient(BASE, caller=(TOKEN, ""))


async def test_what_is_printed_of_it_holds_no_secret() -> None:
    client = RunSignUpClient(BASE, caller=(TOKEN, TOKEN_SECRET), transport=httpx.MockTransport(Recorder()))
    assert "marker" not in f"{client!r}{CREDENTIAL!r}"
    await client.close()
    await client.close()
