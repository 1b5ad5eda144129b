"""The one door to PostgreSQL: the pool, the migrations, the embedded server, and the stores that services share."""

from shared.postgres.pool import Connection, Database

__all__ = ["Connection", "Database"]
