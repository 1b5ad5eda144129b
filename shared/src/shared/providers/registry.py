"""The platforms that this house can talk to: adding one adds its folder, and a line here."""

from shared.errors import Never
from shared.providers.port import OPENS_NOTHING, Client, Provider
from shared.providers.runsignup.provider import RUNSIGNUP
from shared.settings import Settings

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (RUNSIGNUP,)}


#: The numbers that operators know them by; keys of other platforms may stand in the tables, and wait.
IDS = frozenset(provider.provider_id for provider in PROVIDERS.values())


def by_name(name: str) -> Provider:
    """The platform of that name; raises Never for an unknown one."""
    provider = PROVIDERS.get(name)
    if provider is None:
        raise _unknown("name")
    return provider


def by_id(provider_id: int) -> Provider:
    """The platform of the number that operators know; raises Never for an unknown one."""
    for provider in PROVIDERS.values():
        if provider.provider_id == provider_id:
            return provider
    raise _unknown("number")


def told(provider_id: int, reason: str) -> str:
    """Why something is refused, for a person: a code in words, anything else as it stands."""
    code, words = OPENS_NOTHING
    if reason == code:
        return f"{words} ({code})"
    provider = next((each for each in PROVIDERS.values() if each.provider_id == provider_id), None)
    return (provider and provider.in_words(reason)) or reason


def open_client(name: str, settings: Settings, *, timeout_seconds: float) -> Client:
    """The client of a platform, set up from the settings; only the fetcher opens one."""
    if name == RUNSIGNUP.name:
        from shared.providers.runsignup.client import RunSignUpClient

        return RunSignUpClient(settings.runsignup_base_url, caller=settings.caller(), timeout_seconds=timeout_seconds)
    raise _unknown("name")


def _unknown(what: str) -> Never:
    known = ", ".join(f"{provider.name} ({provider.provider_id})" for provider in PROVIDERS.values())
    return Never(f"No provider has this {what}; known are: {known}", reason="unknown_provider")
