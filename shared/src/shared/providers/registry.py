"""The platforms that this house can talk to: adding one adds its folder, and a line here."""

from shared.errors import Never
from shared.providers.port import Provider
from shared.providers.runsignup.provider import RUNSIGNUP

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (RUNSIGNUP,)}


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


def _unknown(what: str) -> Never:
    known = ", ".join(f"{provider.name} ({provider.provider_id})" for provider in PROVIDERS.values())
    return Never(f"No provider has this {what}; known are: {known}", reason="unknown_provider")
