"""A source as people see it: how it stands, *Test connection*, and what they copy to make its keys."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from connectors.base import ProbeLine
from connectors.transport import Deadline, within
from engage.tenancy.models import App
from sync.csv_rows import BadFile, BadRow, Layout, Row, Table, plan, rows
from sync.models import ImportRun, RunState, Source, Subscriber
from sync.s3 import Bucket, Location, StorageProblem

ROWS_TESTED = 20_000  # of the newest file
IDS_LOOKED_FOR = 1_000
OVERDUE = timedelta(days=3)


@dataclass(frozen=True)
class Status:
    """How a source or a run stands: icon, word, tone and a sentence."""

    label: str
    icon: str
    tone: str
    sentence: str = ""


RUN_STATUS = {
    RunState.RUNNING: Status("Running", "progress_activity", "neutral"),
    RunState.DONE: Status("Done", "check_circle", "success"),
    RunState.DONE_WITH_REJECTED: Status("Done with rejected rows", "rule", "success"),
    RunState.STOPPED: Status("Stopped", "pause_circle", "warning"),
    RunState.FAILED: Status("Failed", "error", "danger"),
    RunState.SUPERSEDED: Status("Superseded", "layers", "neutral"),
}


def status_of(source: Source, last: ImportRun | None, now: datetime) -> Status:
    """Return how a source stands. `last` is its newest run that was not superseded."""
    if source.paused:
        return Status("Paused", "pause_circle", "neutral", "Nothing is imported until somebody resumes it.")
    if source.problem:
        return Status("Cannot be read", "error", "danger", source.problem)
    if last is None:
        if source.checked_at is None:
            return Status(
                "Not looked at yet", "schedule", "neutral", "The first look is at the next run, or now with Check now."
            )
        return Status(
            "Waiting for first file", "hourglass_empty", "neutral", "The bucket can be read, and there is no file yet."
        )
    if last.state == RunState.FAILED:
        return Status("Last file failed", "error", "danger", last.message)
    if last.state == RunState.RUNNING:
        return Status("Importing", "progress_activity", "neutral", "")
    if last.state == RunState.STOPPED:
        return Status("Stopped", "pause_circle", "warning", last.message)
    age = now - (last.modified_at or last.started_at)
    if age > OVERDUE:
        return Status(
            f"No file for {age.days} days",
            "event_busy",
            "warning",
            "Days without a file can be right; look at the vendor's schedule.",
        )
    return Status("OK", "check_circle", "success", "")


@dataclass
class Tested:
    """What *Test connection* found."""

    lines: list[ProbeLine] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing stands in the way of an import."""
        return bool(self.lines) and all(line.ok is not False for line in self.lines)


def test(app: App, location: Location, layout: Layout) -> Tested:
    """List the bucket and read the beginning of its newest file; nothing is stored. Raises for nothing outside.

    It ends in time, whatever the store does: somebody waits, and a thread of the web server with them.
    """
    found = Tested()
    deadline = Deadline(settings.ENGAGE_ATTEMPT_TIMEOUT)
    try:
        with within(deadline):
            found.lines = list(_look(app, location, layout, found))
        if not found.passed and not deadline.remaining():
            text = (
                f"The store took longer than {settings.ENGAGE_ATTEMPT_TIMEOUT} seconds in all, so the test was ended."
            )
            found.lines.append(ProbeLine(False, text))
    finally:
        deadline.close()
    return found


def _look(app: App, location: Location, layout: Layout, found: Tested) -> Iterator[ProbeLine]:
    try:
        bucket = Bucket(location)
        files = bucket.files()
        where = f"“{location.prefix}” of bucket {location.bucket}"
        yield ProbeLine(True, f"Bucket {location.bucket} in {location.region} can be listed with this key.")
        if not files:
            yield ProbeLine(None, f"There is no file under {where} yet, so reading one could not be tested.")
            return
        newest = files[-1]
        name = f"{newest.key} ({filesizeformat(newest.size)}, {newest.modified_at:%-d %B %Y})"
        yield ProbeLine(True, f"{len(files):,} files are under {where}. The newest is {name}.")
        with closing(bucket.open(newest)) as download:
            table = Table(download, id_column=layout.id_column)
            found.columns = [column for column in table.columns if column]
            yield ProbeLine(True, f"It can be read. Its columns: {', '.join(found.columns)}.")
            plan(table, layout)
            yield ProbeLine(True, f"The column “{layout.id_column}” is there.")
            yield from (ProbeLine(None, note) for note in table.notes)
            yield from _sample(app, list(islice(rows(table, layout), ROWS_TESTED)))
    except (StorageProblem, BadFile) as error:
        yield ProbeLine(False, str(error))


def _sample(app: App, sample: list[Row | BadRow]) -> Iterator[ProbeLine]:
    good = [row for row in sample if isinstance(row, Row)]
    bad = Counter(row.reason for row in sample if isinstance(row, BadRow))
    if not good:
        yield ProbeLine(False, "No row of it can be imported." if sample else "It has a header and no rows.")
        return
    part = f"The first {len(sample):,} rows" if len(sample) == ROWS_TESTED else f"Its {len(sample):,} rows"
    words = f"{part}: {len(good):,} can be imported"
    if bad:
        reason, times = bad.most_common(1)[0]
        words += f", {sum(bad.values()):,} cannot. Most frequent reason ({times:,} times): {reason}"
    yield ProbeLine(True, f"{words.rstrip('.')}.")
    ids = {row.user_id for row in good}
    newest = set(Subscriber.objects.filter(app=app).order_by("-pk").values_list("user_id", flat=True)[:IDS_LOOKED_FOR])
    if not newest:
        yield ProbeLine(None, "Your app has sent no id yet, so it is not known whether these are the same ids.")
        return
    both = len(ids & newest)
    text = f"{both:,} of the last {len(newest):,} ids that your app sent occur in the rows looked at."
    if not both:
        text += f" Ids in the file look like “{good[0].user_id}”, your app's like “{next(iter(newest))}”. Is it the right column?"
    yield ProbeLine(True if both else None, text)


def reader_policy(bucket: str, prefix: str) -> str:
    """Return the IAM policy of the key that is entered here: list the prefix, read its files, nothing else."""
    return _policy(
        {
            "Sid": "EngageLists",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}*"}},
        },
        {
            "Sid": "EngageReads",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
        },
    )


def writer_policy(bucket: str, prefix: str) -> str:
    """Return the IAM policy of the key that is given to the vendor: write below the prefix, nothing else."""
    return _policy(
        {
            "Sid": "VendorWrites",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
        }
    )


def _policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
