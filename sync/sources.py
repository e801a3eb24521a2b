"""A source as people see it: how it stands, *Test connection*, and what they copy to make its keys."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.dispatch import Signal
from django.template.defaultfilters import filesizeformat

from connectors.base import ProbeLine
from connectors.deadlines import Deadline, within
from engage.tenancy.models import App
from sync import pulls, storage
from sync.csv_rows import BadFile, Block, Layout, Table
from sync.endpoints import reading_of
from sync.models import Access, ImportRun, RunState, Source
from sync.storage import Location, StorageProblem

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


WAITS = Status("Waits for a worker", "schedule", "neutral")
RUN_STATUS = {
    RunState.UPLOADED: Status("To be looked at", "preview", "neutral"),
    RunState.RUNNING: Status("Running", "progress_activity", "neutral"),
    RunState.DONE: Status("Done", "check_circle", "success"),
    RunState.DONE_WITH_REJECTED: Status("Done with rejected rows", "rule", "success"),
    RunState.STOPPED: Status("Stopped", "pause_circle", "warning"),
    RunState.FAILED: Status("Failed", "error", "danger"),
    RunState.SUPERSEDED: Status("Superseded", "layers", "neutral"),
    RunState.SAME: Status("Same content", "content_copy", "neutral"),
}


def status_of(source: Source, last: ImportRun | None, now: datetime) -> Status:
    """Return how a source stands. `last` is its newest run that was not superseded."""
    if source.paused:
        return Status("Paused", "pause_circle", "neutral", "Nothing is imported until somebody resumes it.")
    if source.access == Access.API:
        return _status_of_vendor(source, last)
    if source.problem:
        return Status("Cannot be read", "error", "danger", source.problem)
    if last is None and source.access == Access.UPLOAD:
        return Status("Waiting for first file", "hourglass_empty", "neutral", "Upload one by hand.")
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
    overdue = timedelta(days=source.alert_after_days) if source.alert_after_days else OVERDUE
    if source.access != Access.UPLOAD and age >= overdue:
        return Status(
            f"No file for {age.days} days",
            "event_busy",
            "warning",
            "Days without a file can be right; look at the vendor's schedule.",
        )
    return Status("OK", "check_circle", "success", "")


def _status_of_vendor(source: Source, last: ImportRun | None) -> Status:
    """Return how the reading of a vendor stands."""
    if last and last.state == RunState.RUNNING:
        return Status("Being read", "progress_activity", "neutral")
    if last and last.state == RunState.STOPPED:
        return Status("Waiting", "hourglass_empty", "neutral", last.message)
    if not pulls.is_on(source):
        return Status(
            "Switched off", "power_off", "neutral", "It is read while its connection is on and told to read traits."
        )
    if last is None:
        return Status("Not read yet", "schedule", "neutral", "It is read next night, or now with Read now.")
    if last.state == RunState.FAILED:
        return Status("Last reading failed", "error", "danger", last.message)
    return Status("OK", "check_circle", "success")


@dataclass
class Tested:
    """What *Test connection* found."""

    lines: list[ProbeLine] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    id_columns: list[tuple[str, int]] = field(default_factory=list)  # name, how many of the App's ids it holds

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
            took = f"The store took longer than {settings.ENGAGE_ATTEMPT_TIMEOUT:.0f} seconds in all"
            found.lines.append(ProbeLine(False, f"{took}, so the test was ended."))
    finally:
        deadline.close()
    return found


def _look(app: App, location: Location, layout: Layout, found: Tested) -> Iterator[ProbeLine]:
    try:
        bucket = storage.bucket(location)
        files = bucket.files()
        where = f"“{location.prefix}” of bucket {location.bucket}"
        yield ProbeLine(True, f"Bucket {location.bucket} in {location.region} can be listed with this key.")
        if not files:
            yield ProbeLine(None, f"There is no file under {where} yet, so reading one could not be tested.")
            return
        newest = files[-1]
        name = f"{newest.key} ({filesizeformat(newest.size)}, {newest.modified_at:%-d %B %Y})"
        count = "One file is" if len(files) == 1 else f"{len(files):,} files are"
        yield ProbeLine(True, f"{count} under {where}. The newest is {name}.")
        sent = sent_ids(app)
        with closing(bucket.open(newest)) as download:
            table = Table(download, id_column=layout.id_column)
            found.columns = [column for column in table.columns if column]
            yield ProbeLine(True, f"It can be read. Its columns: {', '.join(found.columns)}.")
            found.id_columns = _id_columns(table, sent)
        if not layout.id_column:
            yield ProbeLine(None, "Which of them is the id that your app sends? Pick it below, then test again.")
            return
        with closing(bucket.open(newest)) as download:
            table = Table(download, id_column=layout.id_column)
            reading = reading_of(table, layout)
            yield ProbeLine(True, f"The column “{layout.id_column}” is there.")
            yield from (ProbeLine(None, note) for note in table.notes)
            yield from _sample(sent, reading.blocks())
    except (StorageProblem, BadFile) as error:
        yield ProbeLine(False, str(error))


asked_for_ids = Signal()
"""Which ids did the App send last? Sent with `app` and `most`; whoever keeps events answers with user ids."""


def sent_ids(app: App) -> set[str]:
    """Return the ids in the App's last events."""
    answers: list[tuple[Any, Any]] = asked_for_ids.send(App, app=app, most=IDS_LOOKED_FOR)
    return {user_id for _, ids in answers for user_id in ids}


def _id_columns(table: Table, sent: set[str]) -> list[tuple[str, int]]:
    """Return the columns that can be the id, with how many of the App's ids are among their first values; best first."""
    chunk, width = next(table.chunks(), None), len(table.columns)
    cells = chunk.cells if chunk else []
    both = [(name, len(sent & set(map(str.strip, cells[n::width])))) for n, name in enumerate(table.columns) if name]
    return sorted(both, key=lambda pair: -pair[1])


def _sample(sent: set[str], blocks: Iterator[Block]) -> Iterator[ProbeLine]:
    read, good = 0, list[str]()
    bad: Counter[str] = Counter()
    while read < ROWS_TESTED and (block := next(blocks, None)):
        read += block.read
        good += block.ids
        bad.update(row.reason for row in block.rejected)
    if not good:
        yield ProbeLine(False, "No row of it can be imported." if read else "It has a header and no rows.")
        return
    part = f"The first {read:,} rows" if read >= ROWS_TESTED else f"Its {read:,} rows"
    words = "Its one row can be imported" if read == 1 else f"{part}: {len(good):,} can be imported"
    if bad:
        reason, times = bad.most_common(1)[0]
        words += f", {sum(bad.values()):,} cannot. Most frequent reason ({times:,} times): {reason}"
    yield ProbeLine(True, f"{words.rstrip('.')}.")
    ids = set(good)
    if not sent:
        yield ProbeLine(None, "Your app has sent no event yet, so it is not known whether these are the same ids.")
        return
    both = len(ids & sent)
    text = (
        f"{both:,} of the {len(sent):,} ids in your app's last {IDS_LOOKED_FOR:,} events occur in the rows looked at."
    )
    if not both:
        text += f" Ids in the file look like “{good[0]}”, your app's like “{min(sent)}”. Is it the right column?"
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


def trust_policy(external_id: str) -> str:
    """Return the trust policy of a role that this server assumes; its owner fills in who this server is."""
    return _policy(
        {
            "Sid": "EngageAssumes",
            "Effect": "Allow",
            "Principal": {"AWS": "the ARN of this server's own role or user: ask the operator"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
    )


def cloudformation(bucket: str, prefix: str) -> str:
    """Return a CloudFormation template (JSON): a private encrypted bucket whose files go after 30 days, a writer, a reader.

    It makes no access keys: a key's secret would stand in the stack's outputs for whoever may look at it.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html
    """

    def user(policy: str) -> dict[str, object]:
        document = json.loads(policy)
        return {
            "Type": "AWS::IAM::User",
            "Properties": {"Policies": [{"PolicyName": "engage", "PolicyDocument": document}]},
        }

    return json.dumps(
        {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": "A bucket for subscribers' CSV files: one user writes, one reads. Make a key for each.",
            "Resources": {
                "Bucket": {
                    "Type": "AWS::S3::Bucket",
                    "DeletionPolicy": "Retain",
                    "UpdateReplacePolicy": "Retain",
                    "Properties": {
                        "BucketName": bucket,
                        "PublicAccessBlockConfiguration": {
                            "BlockPublicAcls": True,
                            "BlockPublicPolicy": True,
                            "IgnorePublicAcls": True,
                            "RestrictPublicBuckets": True,
                        },
                        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                        "BucketEncryption": {
                            "ServerSideEncryptionConfiguration": [
                                {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                            ]
                        },
                        "LifecycleConfiguration": {
                            "Rules": [
                                {
                                    "Id": "files-go-after-30-days",
                                    "Status": "Enabled",
                                    "ExpirationInDays": 30,
                                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                                }
                            ]
                        },
                    },
                },
                "Writer": user(writer_policy(bucket, prefix)),
                "Reader": user(reader_policy(bucket, prefix)),
            },
            "Outputs": {
                "WriterUser": {
                    "Description": "Make its access key and enter it at the vendor",
                    "Value": {"Ref": "Writer"},
                },
                "ReaderUser": {"Description": "Make its access key and enter it in Engage", "Value": {"Ref": "Reader"}},
            },
        },
        indent=2,
    )


def _policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
