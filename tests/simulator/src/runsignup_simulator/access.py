"""Who is asking, and may they? (reference 2)"""

from __future__ import annotations

import hmac
from typing import NamedTuple

from .model import Partner
from .policy import Policy
from .requests import Request
from .world import World


class Caller(NamedTuple):
    """The data credential of a call: `key` is None without one, `partner` is None when it was wrong."""

    key: str | None
    partner: Partner | None

    @property
    def anonymous(self) -> bool:
        return self.key is None

    @property
    def refused(self) -> bool:
        return self.key is not None and self.partner is None


def identify(world: World, request: Request) -> Caller:
    """v1: `api_key` and `api_secret`; v2: `rsu_api_key` and a header. Not interchangeable (reference 2.1)."""
    query = request.query
    if "rsu_api_key" in query:
        return _check(world, "v2", query["rsu_api_key"], request.headers.get("x-rsu-api-secret", ""))
    if "api_key" in query:
        return _check(world, "v1", query["api_key"], query.get("api_secret", ""))
    # Deprecated and other credentials are not served: they are simply unknown.
    for name in ("sp_api_key", "tmp_key"):
        if name in query:
            return Caller(query[name], None)
    if "authorization" in request.headers:
        return Caller("oauth", None)
    return Caller(None, None)


def caller_accepted(policy: Policy, request: Request) -> bool:
    """The caller registration is optional but validated when any half of it is present (reference 2.2)."""
    registration = request.query.get("rsu_api_reg")
    secret = request.headers.get("x-rsu-api-reg-secret")
    if registration is None and secret is None:
        return not policy.caller_required
    return registration == policy.caller_registration and secret == policy.caller_secret


def _check(world: World, form: str, key: str, secret: str) -> Caller:
    partner = world.partners.get(key)
    if partner is None or partner.form != form or partner.revoked:
        return Caller(key, None)
    return Caller(key, partner if hmac.compare_digest(partner.secret.encode(), secret.encode()) else None)
