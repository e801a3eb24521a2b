"""What occurs in the columns of the audit log, without reading the log."""

from django.db import connection

# DISTINCT reads each entry. This asks an index for the smallest value, and again and again for the next one.
SKIPPING = """WITH RECURSIVE found(value) AS (
    SELECT MIN({column}) FROM audit_entry WHERE {scope}
    UNION ALL
    SELECT (SELECT MIN({column}) FROM audit_entry WHERE {scope} AND {column} > found.value) FROM found
    WHERE found.value IS NOT NULL
) SELECT value FROM found WHERE value IS NOT NULL"""


def occurring(column: str, company: int, app: int | None) -> list[str]:
    """Return the values of a column in the entries of an App, or (None) in those of a company itself, in order.

    Args:
        column: one that has an index behind company and app.

    """
    scope = f"company_id = %s AND app_id {'IS NULL' if app is None else '= %s'}"
    keys = [company] if app is None else [company, app]
    with connection.cursor() as cursor:
        cursor.execute(SKIPPING.format(column=column, scope=scope), [*keys, *keys])
        return [value for (value,) in cursor.fetchall()]
