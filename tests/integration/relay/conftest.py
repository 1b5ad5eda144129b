"""A real database, and a house on it."""

from tests.fakes import clock, database, house, other_database

__all__ = ["clock", "database", "house", "other_database"]
