"""A database that is measured in holds nothing of anybody's."""

from django.core.management import call_command
from django.db import connection


def migrate_empty() -> None:
    """Make our tables in the database of DATABASE_URL: what is measured empties them again and again.

    Raises:
        SystemExit: there are tables already.

    """
    if connection.introspection.table_names():
        raise SystemExit("DATABASE_URL names a database that is in use. Measure in an empty one.")
    call_command("migrate", verbosity=0)
