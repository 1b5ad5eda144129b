"""What a service runs on: the house it is given, the relay every service runs, its heartbeat, start and stop."""

from shared.runtime.house import House

__all__ = ["House"]
