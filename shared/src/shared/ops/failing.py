"""How a command of the operator fails, beside the three ways of the house."""

from shared.errors import Never


class WrongUsage(Never):
    """What was asked for cannot be meant: an unknown partner, race, file or word. Exit code 2, nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="usage")
