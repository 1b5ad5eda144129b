"""What every failure at RunSignUp means: one table from its code to what follows, for whom, and in which words.

The codes are the vendor's (runsignup.com/Api/ErrorCodes), HTTP statuses, and our words for answers that are none.
Unknown codes are tried again later: only a known one may stop something.
"""

from datetime import datetime

from shared.providers.port import Consequence, ProviderFailure

LATER, THROTTLED, NEVER = Consequence.LATER, Consequence.THROTTLED, Consequence.NEVER
RACE, CREDENTIAL, EVERYTHING = Consequence.RACE, Consequence.CREDENTIAL, Consequence.EVERYTHING

MEANINGS: dict[str, tuple[Consequence, str]] = {
    # Errors in the body, mostly under HTTP 200.
    "error_1": (NEVER, "it does not know this method"),
    "error_2": (NEVER, "it does not serve this HTTP method"),
    "error_3": (NEVER, "it found the parameters invalid"),
    "error_4": (LATER, "it had an error of its own"),
    "error_5": (LATER, "its database had an error"),
    "error_6": (CREDENTIAL, "it refused the key: check key and secret, or whether the key was withdrawn"),
    "error_7": (RACE, "the key may not read this race: ask the race director to link it"),
    "error_8": (NEVER, "it does not implement this"),
    "error_9": (NEVER, "it found a date invalid"),
    "error_10": (NEVER, "it does not serve this format"),
    "error_11": (NEVER, "it found the request invalid"),
    "error_12": (NEVER, "it found the request out of order"),
    "error_13": (CREDENTIAL, "it wants a user to be logged in: this kind of key will not do"),
    "error_14": (THROTTLED, "it had too many calls"),
    "error_15": (NEVER, "it found an id invalid"),
    "error_17": (EVERYTHING, "it refused our caller registration: check both of its settings"),
    "error_101": (CREDENTIAL, "it does not know the key's user"),
    "error_102": (CREDENTIAL, "it refused the login"),
    "error_103": (CREDENTIAL, "it locked the key's account"),
    **{f"error_{code}": (NEVER, "it found a user's field invalid") for code in range(104, 124)},
    "error_151": (CREDENTIAL, "it refused the temporary key"),
    "error_201": (RACE, "it does not know this race"),
    **{f"error_{code}": (RACE, "it cannot serve this race") for code in range(202, 231)},
    "error_301": (RACE, "it does not know one of the events, or not in this race"),
    "error_514": (NEVER, "it found a group or team invalid"),
    "error_515": (NEVER, "it found a group or team invalid"),
    "error_unknown": (LATER, "it answered an error that we do not know"),
    # HTTP statuses, where the body is RunSignUp's own and holds no code.
    "http_400": (NEVER, "it found the request wrong"),
    "http_401": (CREDENTIAL, "it refused the key: check key and secret"),
    "http_403": (RACE, "the key may not read this race"),
    "http_404": (NEVER, "it does not serve this path"),
    "http_405": (NEVER, "it does not serve this HTTP method"),
    "http_406": (NEVER, "it does not serve this format"),
    "http_410": (NEVER, "it no longer serves this path"),
    "http_414": (NEVER, "it found the address too long"),
    "http_422": (NEVER, "it found the request wrong"),
    "http_429": (THROTTLED, "it had too many calls"),
    # Answers that are none.
    "empty": (LATER, "its answer was empty"),
    "not_json": (LATER, "its answer was not JSON, or was cut short"),
    "markup": (LATER, "its answer was XML or a web page"),
    "unknown_form": (LATER, "its answer had a form that we do not know"),
    "unfitting_page": (LATER, "its answer does not fit what was asked"),
    "too_large": (LATER, "its answer was too large to take in"),
    "encoding": (LATER, "its answer was packed in a way that was not asked for, or badly"),
    # Calls that brought no answer.
    "timeout": (LATER, "it did not answer in time"),
    "unreachable": (LATER, "it could not be reached: check the network, the base address and its certificate"),
    "interrupted": (LATER, "the connection broke during the call"),
    "proxy": (LATER, "the proxy on the way failed"),
    "address": (LATER, "the base address is unusable: check the setting"),
    "key_form": (CREDENTIAL, "the key cannot be sent as it stands: check its form"),
}

# Statuses of a page that is not RunSignUp's own: a proxy's, a content network's, a redirect.
STRANGER = (LATER, "somebody on the way answered in its place")
REDIRECT = (LATER, "it sent us elsewhere, where keys are not taken: check the base address")
DOWN = (LATER, "it is out of order")


def in_words(code: str) -> str | None:
    """What a code means; None for a word that is none of these."""
    return f"RunSignUp: {MEANINGS[code][1]} ({code})" if code in MEANINGS else None


def failure(
    code: str, *, status: int | None = None, retry_after: float | None = None, answered_at: datetime | None = None
) -> ProviderFailure:
    """The failure of this code; ``status`` is only told."""
    consequence, sentence = MEANINGS[code]
    told = code if status is None else f"{code}, HTTP {status}"
    return ProviderFailure(
        f"RunSignUp: {sentence} ({told})",
        consequence=consequence,
        code=code,
        retry_after=retry_after,
        answered_at=answered_at,
    )


def failure_of_status(
    status: int, *, own: bool, retry_after: float | None = None, answered_at: datetime | None = None
) -> ProviderFailure:
    """The failure of a status that is not 2xx.

    Only an answer in RunSignUp's ``own`` form may stop a credential, a race or a request: a firewall's 403 for
    everybody must not look like thirteen refused keys.
    """
    code = f"http_{status}"
    if code in MEANINGS and (own or MEANINGS[code][0] is THROTTLED):
        consequence, sentence = MEANINGS[code]
    elif 300 <= status < 400:
        consequence, sentence = REDIRECT
    else:
        consequence, sentence = DOWN if status >= 500 else STRANGER
    return ProviderFailure(
        f"RunSignUp: {sentence} ({code})",
        consequence=consequence,
        code=code,
        retry_after=retry_after,
        answered_at=answered_at,
    )
