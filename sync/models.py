"""Subscribers and their traits, the sources of CSV files, and every file that was imported."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from engage.tenancy.models import App
from engage.vault.models import Sealed


class Subscriber(models.Model):
    """An end user of the App, by the id that the App sends. `traits` is what is known of them: name -> value."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="subscribers")
    user_id = models.CharField(max_length=200)
    traits = models.JSONField(default=dict)
    is_test = models.BooleanField(
        default=False, help_text="Served while the App's delivery mode is “Test subscribers only”."
    )
    test_note = models.CharField(max_length=200, blank=True)
    test_until = models.DateTimeField(null=True, blank=True)
    test_added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "user_id"], name="subscriber_once")]
        indexes = [models.Index(fields=["app"], name="subscriber_test", condition=Q(is_test=True))]

    def __str__(self) -> str:
        return self.user_id


class TraitType(models.TextChoices):
    """How a trait's values are read."""

    TEXT = "text", "Text"
    NUMBER = "number", "Number"
    BOOLEAN = "boolean", "Yes or no"
    DATE = "date", "Date and time"


class Trait(models.Model):
    """What is known of a trait itself. Its values are in `Subscriber.traits`."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="traits")
    name = models.CharField(max_length=80)
    type = models.CharField(max_length=10, choices=TraitType.choices, default=TraitType.TEXT)
    description = models.CharField(max_length=200, blank=True)
    personal = models.BooleanField(default=True, help_text="Masked for people who may only read.")
    confirmed = models.BooleanField(default=True)
    origin = models.CharField(max_length=80, blank=True, editable=False)  # who named it first
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "name"], name="trait_once")]

    def __str__(self) -> str:
        return self.name


class SourceMode(models.TextChoices):
    """What a newer file says about an older one."""

    CHANGES = "changes", "Changes: every file counts, oldest first"
    SNAPSHOTS = "snapshots", "Snapshots: only the newest file counts"


class Source(Sealed):
    """Where CSV files come from: a prefix in an S3 bucket of the customer's own, read with a read-only key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="sources")
    name = models.CharField(max_length=80)
    bucket = models.CharField(max_length=63)
    prefix = models.CharField(max_length=500, blank=True)
    region = models.CharField(max_length=40, default="us-east-1")
    endpoint_url = models.URLField(blank=True)
    access_key_id = models.CharField(max_length=128, blank=True)  # the secret access key is sealed
    id_column = models.CharField(max_length=120)
    # column -> trait name; "" leaves the column out; one not named here becomes a trait of its own name in snake_case
    mapping = models.JSONField(default=dict)
    mode = models.CharField(max_length=10, choices=SourceMode.choices, default=SourceMode.CHANGES)
    time_zone = models.CharField(max_length=60, default="UTC")  # of dates in the files; a crontab row has its own
    schedule_since = models.DateTimeField(default=timezone.now, editable=False)  # no slot before this is due
    crontab = models.ForeignKey(CrontabSchedule, null=True, blank=True, on_delete=models.SET_NULL)
    interval = models.ForeignKey(IntervalSchedule, null=True, blank=True, on_delete=models.SET_NULL)
    paused = models.BooleanField(default=False)
    checked_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True)  # what the last look at the bucket said
    lease_until = models.DateTimeField(null=True)  # one run at a time
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "name"], name="source_name_in_app"),
            models.CheckConstraint(condition=Q(crontab=None) | Q(interval=None), name="source_one_schedule"),
        ]

    def __str__(self) -> str:
        return self.name


class RunState(models.TextChoices):
    """How the import of a file stands."""

    RUNNING = "running", "Running"
    DONE = "done", "Done"
    DONE_WITH_REJECTED = "done_rejected", "Done with rejected rows"
    STOPPED = "stopped", "Stopped"
    FAILED = "failed", "Failed"
    SUPERSEDED = "superseded", "Superseded by a newer file"


class ImportRun(models.Model):
    """One file imported, and the ledger of files: an object is known by key, ETag (or version) and size."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="import_runs")
    source = models.ForeignKey(Source, null=True, on_delete=models.CASCADE, related_name="runs")
    object_key = models.CharField(max_length=1024)
    etag = models.CharField(max_length=128)
    size = models.BigIntegerField(default=0)
    modified_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.RUNNING)
    message = models.TextField(blank=True)
    started_by = models.CharField(max_length=254, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    staged = models.BooleanField(default=False)  # the whole file stands in StagedRow and was judged
    bytes_read = models.BigIntegerField(default=0)
    rows_read = models.BigIntegerField(default=0)
    rows_new = models.BigIntegerField(default=0)
    rows_changed = models.BigIntegerField(default=0)
    rows_unchanged = models.BigIntegerField(default=0)
    rows_superseded = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    note = models.TextField(blank=True)  # what a person should know of a file that could be read
    starts = models.PositiveIntegerField(default=0)  # since it last got on
    last_line = models.BigIntegerField(default=0)  # of the staged ones
    merged_through = models.BigIntegerField(default=0)  # cursor: the last line merged; commits with its rows

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "object_key", "etag", "size"], name="object_once_per_source")
        ]
        indexes = [models.Index(fields=["app", "-id"], name="import_run_app")]

    def __str__(self) -> str:
        return self.object_key


class StagedRow(models.Model):
    """A row of a file between reading and merging."""

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="staged_rows", db_index=False)
    line = models.BigIntegerField()
    user_id = models.CharField(max_length=200)
    traits = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["run", "line"], name="staged_line")]


class RejectedRow(models.Model):
    """A line of a file that could not be imported, and why."""

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="rejected_rows")
    line = models.BigIntegerField()
    column = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=300)
    value = models.CharField(max_length=200, blank=True)  # shortened
