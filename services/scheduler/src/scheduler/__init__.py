"""Scheduler: publishes what is due, claims nothing it does not ask for, and gives up what did not come back."""
