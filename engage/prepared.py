"""Statements of the hot paths: the ORM writes each of them once, and from then on only the values are filled in.

To write a statement takes the ORM several times as long as it takes to run it. The text is kept for the process, never what was
read: each run asks the database. PostgreSQL parses and plans it once for each of its connections, which takes it longer as well.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models.expressions import Expression
from django.db.models.functions import Now
from django.db.models.query import get_related_populators
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

Values = Sequence[Any]
Columns = Mapping[str, Any]
"""What is stored: column's name -> value, or an expression of the database's, such as `Now()`."""
SHAPES = 64
"""How many texts are kept of an UPDATE, one for each set of columns and expressions."""


def prepared_cursor(database: BaseDatabaseWrapper) -> CursorWrapper:
    """Return a cursor. On PostgreSQL values are sent beside the statement and not in it, so that it can be kept there.

    All columns are named in it, so a migration that adds one does not change what it returns, which PostgreSQL would refuse. Where
    statements are logged they are sent as the ORM does: Django's log cannot show the others.
    """
    if database.vendor != "postgresql" or database.queries_logged:
        return database.cursor()
    from django.db.backends.postgresql.base import ServerBindingCursor

    database.close_if_health_check_failed()
    database.ensure_connection()
    return database.make_cursor(ServerBindingCursor(database.connection))  # type: ignore[arg-type, call-arg]  # psycopg's


class Given(Expression):
    """A value that is filled in when the statement runs. It stands in a filter where the value would stand."""

    def __init__(self, name: str, field: "models.Field[Any, Any]") -> None:
        """`field` says how such a value is written in the database at hand, e.g. `UUIDField()`."""
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Return a place for the value, and ourselves as what knows it."""
        return "%s", [self]

    def written(self, given: Columns, stored: Columns, database: BaseDatabaseWrapper) -> Any:
        """Return the value as the database takes it."""
        return self.output_field.get_db_prep_value(given[self.name], database)


class _Stored(Given):
    """A value that is stored: None is NULL there, in a column of JSON too."""

    def written(self, given: Columns, stored: Columns, database: BaseDatabaseWrapper) -> Any:
        return self.output_field.get_db_prep_save(stored[self.name], database)


def _values(places: Values, given: Columns, stored: Columns, database: BaseDatabaseWrapper) -> list[Any]:
    return [place.written(given, stored, database) if isinstance(place, Given) else place for place in places]


class Prepared:
    """A statement that finds what each of several querysets asks for; a row of it holds a row of each, or None.

    Every queryset finds one row at most, except the last one, for which there may be several, in no order. There is always a first
    row.
    """

    def __init__(self, *asked: "Callable[[], models.QuerySet[Any]]") -> None:
        """`asked` makes querysets with `Given` in the places of values, at the first run: by then the models are loaded."""
        self._asked = asked
        self._written: dict[str, _Statement] = {}

    def __call__(self, **given: Any) -> list[tuple[Any, ...]]:
        """Run it with these values, by the names of the places.

        It only reads, so it is run again where the connection turns out to have gone since the last request. Django would ask the
        database beforehand whether it is still there.
        """
        database = connections[DEFAULT_DB_ALIAS]  # what `connection` stands for; it would be looked up for each value
        statement = self._written.get(database.vendor)
        if statement is None:
            statement = self._written[database.vendor] = _Statement([asked() for asked in self._asked])
        if database.connection is None or database.in_atomic_block:
            return statement.run(given, database)
        database.health_check_done = True  # type: ignore[attr-defined]
        try:
            return statement.run(given, database)
        except (OperationalError, InterfaceError):
            if database.is_usable():
                raise
            database.close()
            return statement.run(given, database)


class PreparedInsert:
    """A statement that stores rows of a model as `bulk_create` does; each row gets its key."""

    def __init__(
        self,
        model: "type[models.Model]",
        *,
        now: Collection[str] = (),
        now_or_never: Collection[str] = (),
        replaces: bool = False,
    ) -> None:
        """`model` says which columns there are. A key that counts up is given out by the database, any other is the row's own.

        Args:
            now: columns that get the present instant of the database's clock; a row does not know it.
            now_or_never: columns that get it where a row has an instant of its own there, and else NULL.
            replaces: whether a row takes the place of one that has its key.

        """
        key = model._meta.pk
        self._model = model
        self._counts = isinstance(key, models.AutoField)
        self._table, self._key = model._meta.db_table, key.column
        self._fields = [field for field in model._meta.concrete_fields if not (self._counts and field.primary_key)]
        self._now, self._now_or_never, self._replaces = now, now_or_never, replaces
        self._told = [field for field in self._fields if field.name not in now]
        self._written: dict[int, str] = {}

    def __call__(self, *rows: models.Model) -> None:
        """Store at least one row, all of them in one statement.

        Raises:
            IntegrityError: a constraint says no.
        """
        database = connections[DEFAULT_DB_ALIAS]
        values = [self._value(field, row, database) for row in rows for field in self._told]
        with prepared_cursor(database) as cursor:
            cursor.execute(self._written.get(len(rows)) or self._write(len(rows)), values)
            if self._counts:
                for row, (key,) in zip(rows, cursor.fetchall(), strict=True):
                    row.pk = key
        for row in rows:
            row._state.adding, row._state.db = False, database.alias  # noqa: SLF001 - documented for this

    def _value(self, field: "models.Field[Any, Any]", row: models.Model, database: BaseDatabaseWrapper) -> Any:
        value = field.pre_save(row, True)
        return value is not None if field.name in self._now_or_never else field.get_db_prep_save(value, database)

    def _write(self, rows: int) -> str:
        quote = connection.ops.quote_name
        columns = ", ".join(quote(str(field.column)) for field in self._fields)
        instant, _ = models.QuerySet(self._model).query.get_compiler(connection=connection).compile(Now())
        places = f"({', '.join(self._place(field.name, instant) for field in self._fields)})"
        others = (quote(str(field.column)) for field in self._fields if not field.primary_key)
        taken = ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
        conflict = f" ON CONFLICT ({quote(str(self._key))}) DO UPDATE SET {taken}" if self._replaces else ""
        returning = f" RETURNING {quote(str(self._key))}" if self._counts else ""
        text = f"INSERT INTO {quote(self._table)} ({columns}) VALUES {', '.join([places] * rows)}{conflict}{returning}"  # noqa: S608 - names of ours
        return self._written.setdefault(rows, text)

    def _place(self, name: str, instant: str) -> str:
        if name in self._now:
            return instant
        return f"CASE WHEN %s THEN {instant} END" if name in self._now_or_never else "%s"


Shape = tuple[tuple[str, Expression | None], ...]


class PreparedUpdate:
    """A statement that changes the rows that a queryset asks for, written for each set of columns once."""

    def __init__(self, asked: "Callable[[], models.QuerySet[Any]]") -> None:
        """`asked` makes the queryset, with `Given` in the places of values."""
        self._asked = asked
        self._written = lru_cache(SHAPES)(self._write)

    def __call__(self, columns: Columns, **given: Any) -> int:
        """Store these columns where it finds rows with these values. Returns in how many."""
        database = connections[DEFAULT_DB_ALIAS]
        shape = ((name, each if hasattr(each, "resolve_expression") else None) for name, each in columns.items())
        sql, places = self._written(database.vendor, tuple(shape))
        with prepared_cursor(database) as cursor:
            cursor.execute(sql, _values(places, given, columns, database))
            return int(cursor.rowcount)

    def _write(self, vendor: str, shape: Shape) -> tuple[str, Values]:
        query: Any = self._asked().query.chain(UpdateQuery)
        field = query.get_meta().get_field
        query.add_update_values({name: value or _Stored(name, field(name)) for name, value in shape})
        sql, places = query.get_compiler(connection=connection).as_sql()
        return sql, places


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

    def run(self, given: dict[str, Any], database: BaseDatabaseWrapper) -> list[tuple[Any, ...]]:
        """Return its rows."""
        with prepared_cursor(database) as cursor:
            cursor.execute(self._sql, _values(self._places, given, {}, database))
            return [self._row(row, database) for row in cursor.fetchall()]

    def _row(self, row: Values, database: BaseDatabaseWrapper) -> tuple[Any, ...]:
        found, begins = list[Any](), 0
        for part in self._parts:
            found.append(part.model(row[begins : begins + part.width], database))
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

    def model(self, row: Values, database: BaseDatabaseWrapper) -> Any:
        """Return the model's row, or None where nothing was found."""
        if row[self._key] is None:
            return None
        values = list(row)
        for place, (converters, column) in self._converters:
            for convert in converters:
                values[place] = convert(values[place], column, database)
        found = self._made.from_db(database.alias, self._names, values[self._own])
        for related in self._related:
            related.populate(values, found)
        return found
