"""Statements of the hot paths: the ORM writes each of them once, and from then on only the values are filled in.

To write a statement takes the ORM several times as long as it takes to run it. The text is kept for the process, never what was
read: each run asks the database.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression
from django.db.models.query import get_related_populators
from django.db.models.sql.compiler import SQLCompiler

Values = Sequence[Any]


class Given(Expression):
    """A value that is filled in when the statement runs. It stands in a filter where the value would stand."""

    def __init__(self, name: str, field: "models.Field[Any, Any]") -> None:
        """`field` says how such a value is written in the database at hand, e.g. `UUIDField()`."""
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return a place for the value, and ourselves as what knows it."""
        return "%s", [self]


class Prepared:
    """A statement that finds what each of several querysets asks for; a row of it holds a row of each, or None.

    Every queryset finds one row at most, except the last one, for which there may be several. There is always a first row.
    """

    def __init__(self, *asked: "Callable[[], models.QuerySet[Any]]") -> None:
        """`asked` makes querysets with `Given` in the places of values, at the first run: by then the models are loaded."""
        self._asked = asked
        self._written: dict[str, _Statement] = {}

    def __call__(self, **given: Any) -> list[tuple[Any, ...]]:
        """Run it with these values, by the names of the places."""
        statement = self._written.get(connection.vendor)
        if statement is None:
            statement = self._written[connection.vendor] = _Statement([asked() for asked in self._asked])
        return statement.run(given)


class _Statement:
    """What was written for one kind of database."""

    def __init__(self, asked: "list[models.QuerySet[Any]]") -> None:
        compilers = [rows.query.get_compiler(connection=connection) for rows in asked]
        joined, self._places = "(SELECT 1) AS one", list[Any]()
        for number, compiler in enumerate(compilers):
            sql, places = compiler.as_sql(with_col_aliases=True)
            joined += f" LEFT JOIN ({sql}) AS part{number} ON TRUE"
            self._places += places
        self._sql = f"SELECT {', '.join(f'part{number}.*' for number in range(len(compilers)))} FROM {joined}"  # noqa: S608 - the ORM wrote it, and values are no part of it
        self._parts = [_Part(compiler) for compiler in compilers]

    def run(self, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Return its rows."""
        values = [
            place.output_field.get_db_prep_value(given[place.name], connection) if isinstance(place, Given) else place
            for place in self._places
        ]
        with connection.cursor() as cursor:
            cursor.execute(self._sql, values)
            return [self._row(row) for row in cursor.fetchall()]

    def _row(self, row: Values) -> tuple[Any, ...]:
        found, begins = list[Any](), 0
        for part in self._parts:
            found.append(part.model(row[begins : begins + part.width]))
            begins += part.width
        return tuple(found)


class _Part:
    """What a queryset's columns become: the ORM's own way from a row to a model with its related ones."""

    def __init__(self, compiler: SQLCompiler) -> None:
        kinds: Any = compiler.klass_info
        select: Any = compiler.select
        fields = kinds["select_fields"]
        self.width = len(select)
        self._made = kinds["model"]
        self._own = slice(fields[0], fields[-1] + 1)
        self._names = [column.target.attname for column, *_ in select[self._own]]
        self._key = fields[0] + self._names.index(self._made._meta.pk.attname)
        self._related = get_related_populators(kinds, select, connection.alias)  # type: ignore[call-arg]  # a later Django takes more
        self._converters = list(compiler.get_converters([column for column, *_ in select]).items())

    def model(self, row: Values) -> Any:
        """Return the model's row, or None where nothing was found."""
        if row[self._key] is None:
            return None
        values = list(row)
        for place, (converters, column) in self._converters:
            for convert in converters:
                values[place] = convert(values[place], column, connection)
        found = self._made.from_db(connection.alias, self._names, values[self._own])
        for related in self._related:
            related.populate(values, found)
        return found
