"""Subscribers and their traits, the sources of CSV files, every file that was imported, and vendors' webhooks."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule

from connectors.models import Connection
from engage.tenancy.models import App
from engage.vault.models import Sealed


class Subscriber(models.Model):
    """An end user of the App, by the id that the App sends. `traits` is what is known of them: name -> value."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="subscribers", db_index=False)
    user_id = models.CharField(max_length=200)
    traits = models.JSONField(default=dict)
    # Of the row of a file that wrote `traits` last; empty as soon as anything else writes them.
    import_digest = models.BigIntegerField(null=True, editable=False)
    is_test = models.BooleanField(
        default=False, help_text="Served while the App's delivery mode is “Test subscribers only”."
    )
    test_note = models.CharField(max_length=200, blank=True)
    test_until = models.DateTimeField(null=True, blank=True)
    test_added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "user_id"], name="subscriber_once")]
        # There are millions of rows and few test subscribers: the indexes that only concern those hold only those.
        indexes = [
            models.Index(fields=["app"], name="subscriber_test", condition=Q(is_test=True)),
            models.Index(fields=["test_added_by"], name="subscriber_test_by", condition=Q(test_added_by__isnull=False)),
        ]

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
    found_type = models.CharField(
        max_length=10, choices=TraitType.choices, blank=True, editable=False
    )  # what values show
    misfits = models.PositiveBigIntegerField(default=0, editable=False)  # stored values that its type does not read
    # The last subscriber whose stored value was read as its type (`sync.retyping`); None: nothing is to be read.
    retyped_to = models.PositiveBigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "name"], name="trait_once")]

    def __str__(self) -> str:
        return self.name


class Access(models.TextChoices):
    """How a source's files are reached."""

    KEY = "key", "An access key of its own"
    DEFAULT = "default", "This server's own AWS credentials"
    ROLE = "role", "A role that this server assumes"
    UPLOAD = "upload", "No bucket: files are uploaded by hand"
    API = "api", "No bucket: a vendor is read over its API"


class Content(models.TextChoices):
    """What a row of a source's files is."""

    SUBSCRIBERS = "subscribers", "A subscriber, with what is known of them"
    ENDPOINTS = "endpoints", "A push endpoint: an address of a subscriber on one channel"


class RowWins(models.TextChoices):
    """Which row counts when a file names an id several times."""

    LAST = "last", "The last one in the file"
    NEWEST_BY = "newest_by", "The one with the newest date in a column"
    FIRST_ACTIVE = "first_active", "The first one that has a certain value in a column, else the last one"


class EmptyCells(models.TextChoices):
    """What an empty cell says of a trait."""

    KEEP = "keep", "Nothing: what is known stays"
    CLEAR = "clear", "It is not known any more: the trait is removed"


class Misfit(models.TextChoices):
    """What becomes of a row with a cell that its trait's type cannot read."""

    DROP_ROW = "drop_row", "The row is rejected"
    KEEP_ROW = "keep_row", "The cell is left out and reported, the rest of the row is imported"


class SourceMode(models.TextChoices):
    """What a newer file says about an older one."""

    CHANGES = "changes", "Changes: every file counts, oldest first"
    SNAPSHOTS = "snapshots", "Snapshots: only the newest file counts"


class Source(Sealed):
    """Where rows come from: CSV files under a prefix in an S3 bucket of the customer's own, or a vendor that is read."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="sources")
    name = models.CharField(max_length=80)
    bucket = models.CharField(max_length=63)
    prefix = models.CharField(max_length=500, blank=True)
    pattern = models.CharField(max_length=200, blank=True)  # of file names, with * and ?; empty: every file
    access = models.CharField(max_length=8, choices=Access.choices, default=Access.KEY)
    role_arn = models.CharField(max_length=2048, blank=True)  # of Access.ROLE
    external_id = models.CharField(max_length=1224, blank=True)
    region = models.CharField(max_length=40, default="us-east-1")
    endpoint_url = models.URLField(blank=True)
    access_key_id = models.CharField(max_length=128, blank=True)  # the secret access key is sealed
    # Of Access.API: whose vendor is read, and which of its lists (`Connector.pulls`).
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE, related_name="sources")
    pull = models.CharField(max_length=40, blank=True)
    content = models.CharField(max_length=12, choices=Content.choices, default=Content.SUBSCRIBERS)
    id_column = models.CharField(max_length=120)
    # column -> {"trait": name} or {"ignore": true}; one not named here becomes a trait of its own name in snake_case
    columns = models.JSONField(default=dict)
    trait_prefix = models.CharField(max_length=40, blank=True)  # before the names of traits that nobody named
    row_wins = models.CharField(max_length=12, choices=RowWins.choices, default=RowWins.LAST)
    row_wins_column = models.CharField(max_length=120, blank=True)
    row_wins_value = models.CharField(max_length=120, blank=True)  # of first_active
    empty_cells = models.CharField(max_length=5, choices=EmptyCells.choices, default=EmptyCells.KEEP)
    misfit = models.CharField(max_length=8, choices=Misfit.choices, default=Misfit.DROP_ROW)
    alert_after_days = models.PositiveSmallIntegerField(null=True, blank=True)  # without a file; None: never
    alerted_at = models.DateTimeField(null=True, editable=False)  # when people were last told of a missing file
    mode = models.CharField(max_length=10, choices=SourceMode.choices, default=SourceMode.CHANGES)
    time_zone = models.CharField(max_length=60, default="UTC")  # of dates in the files; a crontab row has its own
    schedule_since = models.DateTimeField(default=timezone.now, editable=False)  # no slot before this is due
    crontab = models.ForeignKey(CrontabSchedule, null=True, blank=True, on_delete=models.SET_NULL)
    interval = models.ForeignKey(IntervalSchedule, null=True, blank=True, on_delete=models.SET_NULL)
    paused = models.BooleanField(default=False)
    checked_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True)  # what the last look at the bucket said
    lease_until = models.DateTimeField(null=True)  # one run at a time:
    lease_holder = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "name"], name="source_name_in_app"),
            models.CheckConstraint(condition=Q(crontab=None) | Q(interval=None), name="source_one_schedule"),
            models.UniqueConstraint(fields=["connection", "pull"], name="source_once_per_pull"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        """Where its files are, for people."""
        if self.access == Access.API:
            return f"{self.connection}, over its API"
        return "uploaded by hand" if self.access == Access.UPLOAD else f"s3://{self.bucket}/{self.prefix}"

    @property
    def mapping(self) -> dict[str, str]:
        """The rules of `columns` as a `Layout` takes them: column -> trait, an empty text leaves the column out."""
        return {column: "" if rule.get("ignore") else rule["trait"] for column, rule in self.columns.items()}


class TraitColumn(models.Model):
    """Which column of a source fills a trait, and when a file last had it."""

    trait = models.ForeignKey(Trait, on_delete=models.CASCADE, related_name="columns")
    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="trait_columns")
    column = models.CharField(max_length=120)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trait", "source"], name="trait_column_once")]

    def __str__(self) -> str:
        return self.column


class MailWhen(models.TextChoices):
    """When somebody wants a summary of a source's imports by e-mail; nobody's row means never."""

    PROBLEMS = "problems", "When something needs attention"
    ALWAYS = "always", "After every file"


class SourceMail(models.Model):
    """Somebody's own choice to be told of a source's imports by e-mail."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="mails")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    when = models.CharField(max_length=8, choices=MailWhen.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "user"], name="source_mail_once")]

    def __str__(self) -> str:
        return self.when


class RunState(models.TextChoices):
    """How the import of a file stands."""

    UPLOADED = "uploaded", "Uploaded, to be looked at"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    DONE_WITH_REJECTED = "done_rejected", "Done with rejected rows"
    STOPPED = "stopped", "Stopped"
    FAILED = "failed", "Failed"
    SUPERSEDED = "superseded", "Superseded by a newer file"
    SAME = "same", "Same content as another file"


class ImportRun(models.Model):
    """One file imported, or one reading of a vendor, and the ledger of files: known by bucket, key, ETag and size."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="import_runs")
    source = models.ForeignKey(Source, null=True, on_delete=models.CASCADE, related_name="runs")
    bucket = models.CharField(max_length=63)
    object_key = models.CharField(max_length=1024)
    etag = models.CharField(max_length=128)
    size = models.BigIntegerField(default=0)
    modified_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.RUNNING)
    message = models.TextField(blank=True)
    started_by = models.CharField(max_length=254, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    content_digest = models.CharField(max_length=64, blank=True)  # SHA-256 of the unpacked file
    rules_digest = models.CharField(max_length=32, blank=True)  # of the rules by which it was read
    columns = models.JSONField(default=list, editable=False)  # the file's own, in order
    staged = models.BooleanField(default=False)  # the whole file was read and judged
    bytes_read = models.BigIntegerField(default=0)
    rows_read = models.BigIntegerField(default=0)
    rows_new = models.BigIntegerField(default=0)
    rows_changed = models.BigIntegerField(default=0)
    rows_unchanged = models.BigIntegerField(default=0)
    rows_superseded = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    rows_unmatched = models.BigIntegerField(default=0)  # of a vendor: of nobody who is known here
    rows_shared = models.BigIntegerField(default=0)  # of a vendor: written of more people than there were rows
    changed_since = models.DateTimeField(null=True)  # of a vendor: only what changed since then; None: everything
    read_as = models.CharField(max_length=80, blank=True)  # of a vendor: which account, by which settings
    note = models.TextField(blank=True)  # what a person should know of a file that could be read
    uploaded = models.BooleanField(default=False)  # by hand: its bytes are in UploadPart until they are imported
    starts = models.PositiveIntegerField(default=0)  # since it last got on
    merged_through = models.BigIntegerField(default=0)  # cursor: how many ids are merged, in order; commits with them

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "bucket", "object_key", "etag", "size"], name="object_once_per_source"
            )
        ]
        indexes = [models.Index(fields=["app", "-id"], name="import_run_app")]

    def __str__(self) -> str:
        return self.object_key

    @property
    def rows_to_merge(self) -> int:
        """How many ids the file has, as far as is known yet."""
        return self.rows_read - self.rows_rejected - self.rows_superseded - self.rows_unmatched + self.rows_shared


class UploadPart(models.Model):
    """A piece of a file that was uploaded by hand, for whichever machine imports it."""

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="upload_part_once")]

    def __str__(self) -> str:
        return str(self.number)


class RoundState(models.TextChoices):
    """How a round stands."""

    OPEN = "open", "Under way"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Round(models.Model):
    """A connection's way through the subscribers of its App, in the order of their rows. The row is the queue.

    An open one is claimed by a fence and by moving `due_at` to the end of a lease. A connection has one of a kind at a time.
    """

    connection: models.ForeignKey[Connection, Connection]
    connection_id: uuid.UUID
    state = models.CharField(max_length=6, choices=RoundState.choices, default=RoundState.OPEN)
    message = models.TextField(blank=True)  # why it waits, or failed
    refusal = models.TextField(blank=True)  # why the first of those who were refused was
    started_by = models.CharField(max_length=254)
    asked_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    cursor = models.BigIntegerField(default=0)  # the last subscriber's row that is through
    taken = models.BigIntegerField(default=0)  # people of whom it is done
    refused = models.BigIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    fence = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)  # since it last got on

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.connection}, {self.asked_at:%-d %B %Y}"

    @property
    def app(self) -> App:
        """Whose subscribers they are."""
        return self.connection.app

    @property
    def part(self) -> str:
        """Which of the vendor's parts (`Connector.parts`) must need nobody's attention; "" is all of it."""
        return ""


class PushRun(Round):
    """Traits of an App's subscribers on their way to a vendor."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="push_runs", db_index=False)
    changed_since = models.DateTimeField(null=True)  # only who has changed since then; None: everybody
    pushed_as = models.CharField(max_length=90)  # to which account, by which settings

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection"], condition=Q(state="open"), name="push_one_open"),
        ]
        indexes = [models.Index(fields=["connection", "-id"], name="push_connection")]


class RereadRun(Round):
    """An App's subscribers read again at a vendor, one by one. `taken` are those who were read."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="reread_runs", db_index=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection"], condition=Q(state="open"), name="reread_one_open"),
        ]
        indexes = [models.Index(fields=["connection", "-id"], name="reread_connection")]

    @property
    def part(self) -> str:
        """The part that its action signs in to."""
        from connectors.registry import connector_or_none

        declared = connector_or_none(self.connection.connector)
        return declared.reread.part if declared and declared.reread else ""


class RejectedRow(models.Model):
    """A line of a file that could not be imported, and why."""

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="rejected_rows")
    line = models.BigIntegerField()
    column = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=300)
    value = models.CharField(max_length=200, blank=True)  # shortened
    # The row's own, whole, each between two of `sync.csv_rows.SEPARATOR`; empty where they could not be kept.
    cells = models.TextField(blank=True, editable=False)


class MessageState(models.TextChoices):
    """How a vendor's message stands."""

    QUEUED = "queued", "Waiting"
    DONE = "done", "Done"
    IGNORED = "ignored", "Not used"
    UNMATCHED = "unmatched", "Nobody found"
    OVERTAKEN = "overtaken", "Overtaken"
    FAILED = "failed", "Could not be read"


class InboundMessage(models.Model):
    """An event that a vendor told by webhook, stored before it is acknowledged. The row is the queue.

    Its id at the vendor is unique in its connection, so that a repeated delivery finds it here.
    """

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="messages", db_index=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="messages", db_index=False)
    event_id = models.CharField(max_length=200)
    type = models.CharField(max_length=120, blank=True)
    happened_at = models.DateTimeField(null=True)  # as the vendor says
    received_at = models.DateTimeField(default=timezone.now)
    payload = models.JSONField(default=dict)
    request = models.JSONField(null=True)  # of one that could not be taken apart: method, headers and query,
    body = models.BinaryField(null=True)  # and the body as it came
    state = models.CharField(max_length=10, choices=MessageState.choices, default=MessageState.QUEUED)
    reason = models.TextField(blank=True)  # the sentence of how it stands
    due_at = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)  # raised by each claim; whoever settles must still have its number
    tries = models.PositiveIntegerField(default=0)  # since it was queued
    subscriber = models.ForeignKey(Subscriber, null=True, on_delete=models.SET_NULL, related_name="messages")
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "event_id"], name="message_once")]
        indexes = [
            models.Index(fields=["due_at"], name="message_due", condition=Q(state="queued")),
            models.Index(fields=["connection", "-id"], name="message_connection"),
            models.Index(fields=["app", "-id"], name="message_app"),
            models.Index(fields=["received_at"], name="message_received"),
        ]
        verbose_name, verbose_name_plural = "message", "webhooks"

    def __str__(self) -> str:
        return f"{self.type or 'Message'} {self.event_id}"


class LastWord(models.Model):
    """Of when the newest word is that a connection's messages said of a subscriber's subject. An older one counts no more.

    A subject is most often an id at the vendor, so it goes with the subscriber; of several who share it each has their own.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=200)
    as_of = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "subject", "subscriber"], name="last_word_of_subscriber_once")
        ]


class RefusedDelivery(models.Model):
    """The last request to a connection's webhook URL that did not show that it came from the vendor."""

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="refused_delivery")
    at = models.DateTimeField()
    reason = models.CharField(max_length=200)

    class Meta:
        verbose_name_plural = "refused deliveries"
