"""Truths about the tables that must hold at any time: a file each, checked by the scheduler and by `hub check`."""

from shared.postgres.truths.checking import Checked, Truth, check, last_checked

__all__ = ["Checked", "Truth", "check", "last_checked"]
