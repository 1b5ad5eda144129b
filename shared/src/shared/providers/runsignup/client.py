"""The one thing that talks to RunSignUp: adds the keys, asks once, hands back what came, unread.

Keys travel in the address (v1), so no address leaves this module: not in an error, not in a log.
"""

import asyncio
import logging
import re
import sys
from http.cookiejar import DefaultCookiePolicy
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlencode

import httpx

from shared.errors import Misconfigured
from shared.providers.port import Answer, Call, Credential
from shared.providers.runsignup.errors import failure
from shared.providers.runsignup.keys import check_key

# httpcore tries to import this at each of its locks. Python remembers what it imported, not what it did not find: the
# search through every folder of the path was a tenth of a round's processor time. None means: do not search.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # what the import system documents for it

HOST = re.compile(rb"[A-Za-z0-9.:_-]+")
LARGEST_BODY = 64 * 1024 * 1024  # bytes, unpacked; a page of 2,500 people has about 5 MiB

# Every error that httpx can raise, the most specific first, and our word for it; a test keeps this complete.
TRANSPORT_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "unreachable"),
    (httpx.TimeoutException, "timeout"),
    (httpx.ConnectError, "unreachable"),
    (httpx.ProxyError, "proxy"),
    (httpx.UnsupportedProtocol, "address"),
    (httpx.NetworkError, "interrupted"),
    (httpx.ProtocolError, "interrupted"),
    (httpx.DecodingError, "encoding"),
    (httpx.HTTPError, "interrupted"),
    (httpx.InvalidURL, "address"),
    (httpx.StreamError, "interrupted"),
    (httpx.CookieConflict, "interrupted"),
    (TimeoutError, "timeout"),
    (OSError, "interrupted"),
)
TRANSPORT_ERROR_TYPES = tuple(kind for kind, _ in TRANSPORT_ERRORS)


class RunSignUpClient:
    """One pool of connections for all keys; safe to share, nothing of one call is kept for the next."""

    def __init__(
        self,
        base_url: str,
        *,
        caller: tuple[str, str] | None = None,
        timeout_seconds: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = _checked(base_url)
        if caller is not None and check_key(*caller) is not None:
            raise Misconfigured(
                "The RunSignUp caller registration needs both its token and its secret, without blanks."
            )
        self._caller = caller
        self._timeout_seconds = timeout_seconds
        _silence_address_logging()
        self._http = httpx.AsyncClient(
            follow_redirects=False,  # a key is never taken elsewhere
            timeout=httpx.Timeout(timeout_seconds),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "project88hub"},
            trust_env=not _is_loopback(self._base_url),  # a proxy of the environment does not reach this machine
            transport=transport,
        )
        # A cookie would carry one partner's session into another partner's call.
        self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def __repr__(self) -> str:
        return f"<RunSignUpClient {self._base_url.host}>"

    async def ask(self, call: Call, credential: Credential) -> Answer:
        """Ask once; raises ProviderFailure for whatever kept an answer from coming."""
        code = "timeout"
        try:
            # httpx limits each step; this limits the whole, for a slot in flight is a lease of that length.
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._ask(call, credential)
            if not isinstance(answer, str):
                return answer
            code = answer
        except TRANSPORT_ERROR_TYPES as error:
            code = next(code for kind, code in TRANSPORT_ERRORS if isinstance(error, kind))
        # Raised out here, so that the failure has no cause: the cause knows the address, and the address the key.
        raise failure(code)

    async def _ask(self, call: Call, credential: Credential) -> Answer | str:
        """The answer, or the word for what is wrong with the call or the answer's packing."""
        if check_key(credential.principal, credential.secret) is not None:
            return "key_form"
        parameters = list(call.parameters)
        headers: dict[str, str] = {}
        # runsignup.com/API/DocOverview and the vendor's help on authenticating: two forms of keys.
        match credential.form:
            case "v1":
                parameters += [("api_key", credential.principal), ("api_secret", credential.secret)]
            case "v2":
                parameters += [("rsu_api_key", credential.principal)]
                headers["X-RSU-API-SECRET"] = credential.secret
            case _:
                return "key_form"
        # The vendor's API registration: who calls, beside who may read; required from 2027 on.
        if self._caller is not None:
            parameters += [("rsu_api_reg", self._caller[0])]
            headers["X-RSU-API-REG-SECRET"] = self._caller[1]
        url = self._base_url.copy_with(
            path=self._base_url.path.rstrip("/") + call.path, query=urlencode(parameters).encode()
        )
        async with self._http.stream("GET", url, headers=headers) as response:
            # Packed twice, a few kilobytes unpack to gigabytes before anyone can count them.
            if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", "gzip"):
                return "encoding"
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > LARGEST_BODY:
                    return "too_large"
            return Answer(response.status_code, dict(response.headers.items()), bytes(body))

    async def close(self) -> None:
        """Let go of the connections; safe to repeat."""
        await self._http.aclose()


def _checked(base_url: str) -> httpx.URL:
    problem = "The RunSignUp base address must look like https://api.runsignup.com/rest"
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if (
        url.scheme not in ("http", "https")
        or not HOST.fullmatch(url.raw_host)
        or url.userinfo
        or url.query
        or url.fragment
    ):
        raise Misconfigured(problem)
    return url


def _is_loopback(url: httpx.URL) -> bool:
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"


def _silence_address_logging() -> None:
    """httpx tells every address at INFO, with the keys in it."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
