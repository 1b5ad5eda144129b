"""A real database, and a house whose handlers are in it as their own role."""

from tests.fakes import clock, database, house_as, other_database

__all__ = ["clock", "database", "house", "other_database"]

house = house_as("hub_bib_watcher")
