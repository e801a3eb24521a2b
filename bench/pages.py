"""`make bench-pages`: how the pages that show the history grow with it: Live, one execution, a subscriber, and the lists.

One JSON line per page: `ours` at `--many` executions, `bare` at ten thousand, both in ms (the median of warm requests through
Django, sign-in included, without a web server's share) and their ratio, which should stay under 1.5. Writes into the
database that DATABASE_URL names, which must be empty; without it SQLite.

There are as many entries in the audit log and as many webhooks as executions, up to `MOST_TOLD`, and an import for every ten,
up to `MOST_IMPORTS`.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from django.db.models import Model

    from connectors.models import Connection

FEW = 10_000
STEP = 500_000
PEOPLE = 150  # so that each page is full at ten thousand already, and both show as many rows
AIM = "1.5 or less"
MOST_TOLD = 400_000  # entries of the audit log, and webhooks: an App with millions of executions has fewer of either
MOST_IMPORTS = 60_000  # a file every five minutes, for seven months
PER_IMPORT = 10  # executions

INTERACTIONS = """CASE i % 5 WHEN 0 THEN 'accept' WHEN 1 THEN 'secondary_accept' WHEN 2 THEN 'decline'
    WHEN 3 THEN 'dismiss' ELSE 'timeout' END"""
# One in 150 each is open or went wrong.
STATES = """CASE i % 150 WHEN 0 THEN 'uncertain' WHEN 1 THEN 'gave_up' WHEN 2 THEN 'rejected' WHEN 3 THEN 'held'
    WHEN 4 THEN 'skipped' ELSE 'done' END"""
REASONS = "CASE i % 150 WHEN 4 THEN 'missing' ELSE '' END"


@dataclass(frozen=True)
class Pattern:
    """A row that is copied, with which values in SQL, and how many there are beside the executions."""

    row: "Model"
    values: dict[str, str]
    most: int | None = None
    per: int = 1

    def rows(self, executions: int) -> int:
        """Return how many there are at so many executions."""
        return max(1, min(executions // self.per, self.most or executions))


class History:
    """An App with so many executions, and an administrator who looks at them."""

    def __init__(self) -> None:
        from django.db import connection
        from django.test import Client
        from django.utils import timezone

        from bench.empty import migrate_empty
        from engage.tenancy.models import DeliveryMode
        from engage.tenancy.roles import Role
        from sync.models import Subscriber
        from tests import factories

        migrate_empty()
        self.app = factories.AppFactory(delivery_mode=DeliveryMode.LIVE)
        self.prompts = [factories.PromptFactory(app=self.app, key=f"prompt-{number}").pk for number in range(2)]
        people = [Subscriber(app=self.app, user_id=f"u{number}", traits={}) for number in range(PEOPLE)]
        self.people = Subscriber.objects.bulk_create(people)
        self.client = Client(SERVER_NAME="localhost")
        administrator = factories.person(self.app, Role.COMPANY_ADMIN)
        self.client.force_login(administrator, backend="django.contrib.auth.backends.ModelBackend")
        binding = factories.BindingFactory(prompt_id=self.prompts[0], connector="cleeng", connection__app=self.app)
        event = factories.EventFactory(id=1, prompt=binding.prompt, subscriber=self.people[0])
        self.count, self.now, self.database = 1, timezone.now(), connection
        self.patterns = [
            Pattern(event, self._of_events()),
            Pattern(factories.ExecutionFactory(event=event, binding=binding), self._of_executions()),
            Pattern(self._entry(), self._of_entries(), MOST_TOLD),
            Pattern(self._message(binding.connection), self._of_messages(), MOST_TOLD),
            Pattern(self._import(), self._of_imports(), MOST_IMPORTS, PER_IMPORT),
        ]

    def grow(self, count: int) -> None:
        """Let there be so many executions."""
        if self._is_postgresql:
            with self.database.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica")  # the rows fit: no foreign key is looked up
        while self.count < count:
            last = min(count, self.count + STEP)
            for pattern in self.patterns:
                self._copy(pattern.row, pattern.values, pattern.rows(self.count) + 1, pattern.rows(last))
            self.count = last
        with self.database.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE" if self.database.vendor == "postgresql" else "ANALYZE")

    def _copy(self, pattern: "Model", values: dict[str, str], first: int, last: int) -> None:
        """Copy a row so many times, with these values in SQL: one a second, back from now."""
        if last < first:
            return
        meta = pattern._meta
        columns = [str(field.column) for field in meta.concrete_fields]
        taken = ", ".join(values.get(column, f"pattern.{column}") for column in columns)
        numbers = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
        source = f"FROM n, {meta.db_table} pattern WHERE pattern.id = %s"
        with self.database.cursor() as cursor:
            cursor.execute(
                f"{numbers} INSERT INTO {meta.db_table} ({', '.join(columns)}) SELECT {taken} {source}".replace(
                    " % ", " %% "
                ),
                [meta.pk.get_db_prep_value(pattern.pk, self.database)],
            )

    def _at(self) -> str:
        now = self.now.isoformat(sep=" ")
        if self._is_postgresql:
            return f"'{now}'::timestamptz - i * interval '1 second'"
        return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', '{now[:19]}', '-' || i || ' seconds')"

    @property
    def _is_postgresql(self) -> bool:
        return bool(self.database.vendor == "postgresql")

    @property
    def _uuid(self) -> str:
        return "gen_random_uuid()" if self._is_postgresql else "lower(hex(randomblob(16)))"

    def _of_events(self) -> dict[str, str]:
        prompts = f"CASE i % 3 WHEN 0 THEN {self.prompts[0]} ELSE {self.prompts[1]} END"
        return {
            "id": "i", "event_id": self._uuid, "prompt_id": prompts, "interaction": INTERACTIONS, "is_test": "i % 150 = 7",
            "reference": "'R' || i", "received_at": self._at(), "subscriber_id": self._person,
        }  # fmt: skip

    def _of_executions(self) -> dict[str, str]:
        return {
            "id": self._uuid, "event_id": "i", "state": STATES, "reason": REASONS, "created_at": self._at(),
            "settled_at": self._at(), "due_at": "NULL", "subscriber_id": self._person,
        }  # fmt: skip

    def _entry(self) -> "Model":
        from engage.audit.models import Entry

        fields = {"actor": "bench", "verb": "changed", "kind": "connection", "object_id": "0", "label": "Cleeng"}
        return Entry.objects.create(company=self.app.company, app=self.app, **fields, changes={"plan": [1, 2]})

    def _of_entries(self) -> dict[str, str]:
        verbs = "CASE i % 5 WHEN 0 THEN 'created' WHEN 1 THEN 'removed' ELSE 'changed' END"
        return {
            "id": "i + 1000", "at": self._at(), "actor": "'p' || i % 9 || '@example.com'", "verb": verbs, "object_id": "'o' || i",
            "label": "'Offer ' || i",
        }  # fmt: skip

    def _message(self, connection: "Connection") -> "Model":
        from sync.models import InboundMessage, MessageState

        told = {"event_id": "evt_1", "type": "invoice.paid", "payload": {"id": "evt_1"}, "state": MessageState.DONE}
        return InboundMessage.objects.create(app=self.app, connection=connection, **told)

    def _of_messages(self) -> dict[str, str]:
        states = "CASE i % 150 WHEN 0 THEN 'failed' WHEN 1 THEN 'unmatched' ELSE 'done' END"
        return {"id": "i + 1000", "event_id": "'evt_' || i", "state": states, "received_at": self._at()}

    def _import(self) -> "Model":
        from sync.models import ImportRun, RunState
        from tests import factories

        file = {"bucket": "bench", "object_key": "1.csv", "etag": "e", "state": RunState.DONE}
        return ImportRun.objects.create(app=self.app, source=factories.SourceFactory(app=self.app), **file)

    def _of_imports(self) -> dict[str, str]:
        return {"id": "i + 1000", "object_key": "i || '.csv'", "started_at": self._at()}

    @property
    def _person(self) -> str:
        return f"{self.people[0].pk} + i % {PEOPLE}"

    def pages(self) -> dict[str, str]:
        """Return the addresses that are measured: the first page, a deep one, each filter alone, details, the dashboard."""
        from prompts.models import Execution, PromptEvent

        live, lookup = "/console/prompts/execution/", "/console/prompts/promptevent/"
        log, told = "/console/audit/entry/", "/console/sync/inboundmessage/"
        place = min(self.count, 50_000) - 100
        deep = PromptEvent.objects.order_by("-received_at", "-pk")[place]
        since = (self.now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
        found = {
            "Live": live,
            "Live, a thousand pages deep": f"{live}?before={deep.received_at.isoformat().replace('+', '%2B')}~{deep.pk}",
            "errors only": f"{live}?trouble=on",
            "interaction": f"{live}?interaction=decline",
            "prompt": f"{live}?prompt=prompt-0",
            "connector": f"{live}?connector=cleeng",
            "another connector": f"{live}?connector=stripe",
            "user id": f"{live}?user=u77",
            "an unknown user id": f"{live}?user=nobody",
            "reference": f"{live}?reference=R77",
            "test": f"{live}?kind=test",
            "real": f"{live}?kind=real",
            "since": f"{live}?since={since}",
            "until": f"{live}?until={since}",
            "forwards": f"{live}?forwards=on",
            "Lookup": f"{lookup}?q=u77",
            "Dashboard": "/console/",
            "Prompts": "/console/prompts/prompt/",
            "Run again": f"{live}again/",
            "Run again, one connector": f"{live}again/?connector=cleeng",
            "Run again, one interaction": f"{live}again/?interaction=secondary_accept",
            "Audit log": log,
            "Audit log, a search": f"{log}?q=o77",
            "Audit log, a search that finds nothing": f"{log}?q=zzz",
            "Audit log, removed": f"{log}?verb=removed",
            "Webhooks": told,
            "Webhooks, a search": f"{told}?q=evt_77",
            "Webhooks, failed": f"{told}?state__exact=failed",
            "Imports": "/console/sync/importrun/",
        }
        for state in ("done", "uncertain", "gave_up", "running", "waiting", "pending", "not_sent"):
            found[f"state {state}"] = f"{live}?state={state}"
        newest = Execution.objects.order_by("-created_at").values_list("pk", flat=True)[0]
        return found | {"one execution": f"{live}{newest}/"}

    def measure(self, times: int) -> dict[str, float]:
        """Return the milliseconds of each page."""
        return {name: self._page(address, times) for name, address in self.pages().items()}

    def _page(self, address: str, times: int) -> float:
        took: list[float] = []
        for _ in range(times + 1):
            began = time.monotonic()
            answer = self.client.get(address)
            took.append((time.monotonic() - began) * 1000)
            if answer.status_code != 200:
                raise SystemExit(f"{address} answered {answer.status_code}.")
        return statistics.median(took[1:])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=7, help="requests of each page; medians are told")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engage-bench-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ENGAGE_VAR_DIR": folder,
            "DATABASE_URL": os.environ.get("DATABASE_URL") or f"sqlite:///{folder}/engage.sqlite3",
            "LOG_LEVEL": "ERROR",
        }
        django.setup()
        history = History()
        history.grow(FEW)
        few = history.measure(options.times)
        history.grow(options.many)
        many = history.measure(options.times)
        for name, bare in few.items():
            found = {
                "ours": round(many[name], 1),
                "bare": round(bare, 1),
                "ratio": round(many[name] / bare, 2),
                "aim": AIM,
            }
            label = f"{history.database.vendor}: {name}, at {options.many:,} executions beside {FEW:,}, ms"
            print(json.dumps({"measure": label, **found}), flush=True)


if __name__ == "__main__":
    main()
