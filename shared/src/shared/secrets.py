"""Credentials at rest: AES-GCM, bound to their row, so that a ciphertext moved to another row does not open."""

import base64
import binascii
import hashlib
import os
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import Misconfigured, Never

NONCE_BYTES = 12
KEY_BYTES = 32


class Sealer:
    """Seals with one key (``HUB_SECRET_KEY``), and opens with that or with others (``HUB_FORMER_SECRET_KEYS``)."""

    def __init__(self, key: bytes, *others: bytes) -> None:
        self._aead = AESGCM(key)
        self._others = tuple(AESGCM(other) for other in others)

    @classmethod
    def from_text(cls, text: str, others: str = "") -> "Sealer":
        """From 32 bytes in base64, and others after commas; raises Misconfigured, without the value, if one is not."""
        former = [each.strip() for each in others.split(",") if each.strip()]
        return cls(_key(text, "HUB_SECRET_KEY"), *(_key(each, "each of HUB_FORMER_SECRET_KEYS") for each in former))

    def seal(self, secret: str, row: str) -> bytes:
        """A ciphertext that opens only for the same row."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret.encode(), row.encode())

    def open(self, sealed: bytes, row: str) -> str:
        """The secret; raises Never when it was sealed with another key or for another row."""
        for aead in (self._aead, *self._others):
            with suppress(InvalidTag, ValueError):
                return aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.encode()).decode()
        raise Never(
            f"the secret of {row} cannot be opened: HUB_SECRET_KEY differs from the one it was sealed with, "
            "or the row was altered; set the right key, or enter the secret again",
            reason="sealed_otherwise",
        )

    def is_present(self, sealed: bytes, row: str) -> bool:
        """Whether it was sealed with the present key, and not with a former one."""
        try:
            self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.encode())
        except (InvalidTag, ValueError):
            return False
        return True


def _key(text: str, name: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Misconfigured(
            f"{name} must be {KEY_BYTES} bytes in base64", remedy="make one with `openssl rand -base64 32`"
        )
    return key


def no_key() -> Misconfigured:
    """What is raised by whoever needs the key and was not given it."""
    return Misconfigured(
        "HUB_SECRET_KEY is not set", remedy="make one with `openssl rand -base64 32`, and keep it safe"
    )


def new_key() -> str:
    """A fresh ``HUB_SECRET_KEY``."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def row_name(credential_id: int, provider_id: int, timing_partner_id: int, principal: str) -> str:
    """What a secret is bound to; the principal goes in as a digest, since the text may stand in an error."""
    return f"credential {credential_id} (provider {provider_id}, partner {timing_partner_id}, {fingerprint(principal)})"


def fingerprint(principal: str) -> str:
    """What a key is called in rows, budgets and metrics: 12 hex digits that do not lead back to it."""
    return hashlib.blake2b(principal.encode(), digest_size=6, person=b"hub-key").hexdigest()
