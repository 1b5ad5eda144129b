"""Fetcher: the only one who talks to providers, inside their limits, and passes on raw records."""
