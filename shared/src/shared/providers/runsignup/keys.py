"""The form of a RunSignUp key, checked before it is stored or sent; the key itself is never repeated."""

LONGEST = 256  # characters; keys seen have 32 to 64


def check_key(principal: str, secret: str) -> str | None:
    """What is wrong with the form of a key pair, in a sentence; None when nothing is.

    A key that passes can be put in a query and a header: printable ASCII without blanks.
    """
    for name, value in (("key", principal), ("secret", secret)):
        if not value.strip():
            return f"The RunSignUp {name} is empty."
        if len(value) > LONGEST:
            return f"The RunSignUp {name} is {len(value)} characters long; at most {LONGEST} make sense."
        if any(character.isspace() for character in value):
            return f"The RunSignUp {name} has a blank in or around it; it was probably copied with one."
        if not all("!" <= character <= "~" for character in value):
            return f"The RunSignUp {name} has characters that no key has; copy it again."
    return None
