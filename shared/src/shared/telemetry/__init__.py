"""Seeing it run: logs, the catalogue of metrics, and health."""
