"""A real database, a house on it, and both sides of a replay: who sends and who applies."""

from tests.fakes import clock, database, house, other_database

__all__ = ["clock", "database", "house", "other_database"]
