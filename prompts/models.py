"""Prompts and their bindings; events, executions and attempts.

The rows of an execution are the queue (`prompts.claims`): partial indexes cover only what is open, so that they stay
small whatever the history grows to.
"""

import uuid
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from connectors import runner
from connectors.models import Connection
from engage.tenancy.models import App
from sync.models import Subscriber


class PromptType(models.TextChoices):
    """How a prompt is shown."""

    POPUP = "popup", "Popup"
    NOTIFICATION = "notification", "Notification"
    BANNER = "banner", "Banner"


class PromptStatus(models.TextChoices):
    """Whether a prompt is shown at all."""

    DRAFT = "draft", "Draft"
    LIVE = "live", "Live"
    PAUSED = "paused", "Paused"


class LimitKind(models.TextChoices):
    """How often one subscriber may accept."""

    ONCE = "once", "Once"
    EVERY_DAYS = "every_days", "Every N days"
    NONE = "none", "No limit"


class Interaction(models.TextChoices):
    """The five answers to a prompt, in the order of the panel's lanes."""

    ACCEPT = "accept", "Accept"
    SECONDARY_ACCEPT = "secondary_accept", "Secondary accept"
    DECLINE = "decline", "Decline"
    DISMISS = "dismiss", "Dismiss"
    TIMEOUT = "timeout", "Timeout"


IMPRESSION = "impression"
TAKES_LIMIT = frozenset({Interaction.ACCEPT, Interaction.SECONDARY_ACCEPT})


class Prompt(models.Model):
    """An in-app message with up to three buttons."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="prompts")
    key = models.SlugField(max_length=60, help_text="Names the prompt in the API. It stays when the name changes.")
    name = models.CharField(max_length=120)
    type = models.CharField(max_length=12, choices=PromptType.choices, default=PromptType.POPUP)
    status = models.CharField(max_length=8, choices=PromptStatus.choices, default=PromptStatus.DRAFT)
    title = models.CharField(max_length=200, help_text="May hold traits: {{ first_name }}.")
    message = models.TextField(blank=True, help_text="May hold traits: {{ first_name }}.")
    accept_label = models.CharField("accept button", max_length=60, default="Yes, please")
    secondary_label = models.CharField(
        "second accept button", max_length=60, blank=True, help_text="Empty: no second button."
    )
    decline_label = models.CharField("decline button", max_length=60, blank=True, help_text="Empty: no decline button.")
    timeout_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: it stays until it is answered."
    )
    inputs = models.JSONField(
        default=list, blank=True
    )  # [{"name", "label", "type": "text|email|number|choice", "required", "choices"}]
    url_pattern = models.CharField(
        max_length=300,
        blank=True,
        help_text="Paths on which it is shown, with * as wildcard, e.g. /account*. Empty: on all.",
    )
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    limit = models.CharField("limit per subscriber", max_length=10, choices=LimitKind.choices, default=LimitKind.ONCE)
    limit_days = models.PositiveIntegerField(null=True, blank=True)
    text_done = models.CharField("text when done", max_length=200, default="Done. Thank you!")
    text_follows = models.CharField(
        "text when it will follow", max_length=200, default="Thank you. This will take effect shortly."
    )
    text_not_possible = models.CharField(
        "text when not possible", max_length=200, default="Sorry, this was not possible."
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    archived_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "key"], name="prompt_key_in_app"),
            models.CheckConstraint(
                condition=~Q(limit=LimitKind.EVERY_DAYS) | Q(limit_days__gt=0), name="prompt_limit_has_days"
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(starts_at=None) | Q(ends_at__gt=F("starts_at")),
                name="prompt_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class OnError(models.TextChoices):
    """What follows when an action was not carried out."""

    STOP = "stop", "Stop"
    CONTINUE = "continue", "Continue"


class Binding(models.Model):
    """An action attached to an interaction of a prompt. Archived, never deleted: executions point to it."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="bindings")
    interaction = models.CharField(max_length=16, choices=Interaction.choices)
    position = models.PositiveIntegerField(default=0)
    connector = models.CharField(max_length=40)
    action = models.CharField(max_length=60)
    connection = models.ForeignKey(
        Connection, null=True, blank=True, on_delete=models.RESTRICT, related_name="bindings"
    )
    # input name -> {"from": "fixed", "value": ...} | {"from": "trait", "name": ...} | {"from": "input", "name": ...};
    # and what the vendor had for them when they were saved (`connectors.base.RESOLVED`) -> {"from": "resolved", "value": ...}
    inputs = models.JSONField(default=dict)
    on_error = models.CharField(max_length=8, choices=OnError.choices, default=OnError.STOP)
    enabled = models.BooleanField(default=True)
    daily_limit = models.PositiveIntegerField(default=1000)  # more executions a day than this are held, and said
    max_age_hours = models.PositiveIntegerField(default=72)  # an older answer is not carried out
    problem = models.TextField(blank=True)  # what the last check at the vendor found wrong with its inputs
    checked_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["prompt", "interaction", "position"], name="binding_lane", condition=Q(archived_at=None)
            )
        ]

    def __str__(self) -> str:
        return f"{self.connector}.{self.action}"

    @property
    def app(self) -> App:
        """The App that its prompt belongs to."""
        return self.prompt.app


class BindingDay(models.Model):
    """How many executions of a binding began on a day (UTC), for its daily limit."""

    binding = models.ForeignKey(Binding, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["binding", "day"], name="binding_day_once")]


class PromptVersion(models.Model):
    """A prompt with its bindings as they were shown: an answer names it, and for 24 h its bindings are what runs.

    `bindings` is a list of {"id", "interaction", "position", "connector", "action", "connection", "inputs", "on_error",
    "daily_limit", "max_age_hours"} of the enabled ones, so that planning an event reads one row.
    """

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    bindings = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=254, blank=True)
    superseded_at = models.DateTimeField(null=True)

    RUNS_FOR: ClassVar[timedelta] = timedelta(hours=24)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prompt", "number"], name="prompt_version_once")]


class LimitTaken(models.Model):
    """That a subscriber has accepted a prompt. Taken when planning, given back when nothing happened."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="limits_taken")
    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="limits_taken")
    event = models.ForeignKey("PromptEvent", null=True, on_delete=models.SET_NULL, related_name="+")
    taken_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prompt", "subscriber"], name="limit_once")]


class EventSource(models.TextChoices):
    """Where an event was reported."""

    API = "api", "Runtime API"
    CONSOLE = "console", "Console"
    COMMAND = "command", "Command line"


class PromptEvent(models.Model):
    """A reported impression or interaction, stored before anything else happens."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="events", db_index=False)
    event_id = models.UUIDField(default=uuid.uuid4)  # the client's; the same id again is the same event
    prompt = models.ForeignKey(Prompt, null=True, on_delete=models.CASCADE, related_name="events", db_index=False)
    prompt_version = models.PositiveIntegerField(null=True)
    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="events", db_index=False)
    interaction = models.CharField(max_length=16)  # an Interaction, or IMPRESSION
    inputs = models.JSONField(default=dict)
    context = models.JSONField(default=dict)
    digest = models.CharField(
        max_length=64
    )  # of prompt, interaction, user id and inputs: another body under the same id is a 409
    source = models.CharField(max_length=8, choices=EventSource.choices, default=EventSource.API)
    mode = models.CharField(max_length=10)  # the App's delivery mode when it came
    is_test = models.BooleanField(default=False)  # of a test subscriber, or from the console's *Run for real*
    reference = models.CharField(max_length=12)  # short, shown to the person when it was not done; Lookup finds it
    reported_by = models.CharField(max_length=254, blank=True)  # the person, for console and command
    limit_reached = models.BooleanField(default=False)
    received_at = models.DateTimeField()
    # Of the visitor, as the server saw them; kept only where a connection that is active sends them on.
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["app", "event_id"], name="event_once")]
        indexes = [
            models.Index(fields=["app", "-received_at", "-id"], name="event_live"),
            # Impressions outnumber answers by far, and Live leaves them out.
            models.Index(
                fields=["app", "-received_at", "-id"], name="event_answers", condition=~Q(interaction="impression")
            ),
            # Few are: without it a page of them would walk through everybody's.
            models.Index(fields=["app", "-received_at", "-id"], name="event_test", condition=Q(is_test=True)),
            models.Index(fields=["subscriber", "-received_at", "-id"], name="event_subscriber"),
            models.Index(fields=["prompt", "-received_at", "-id"], name="event_prompt"),
            models.Index(fields=["app", "reference"], name="event_reference"),
        ]

    def __str__(self) -> str:
        return self.reference


class State(models.TextChoices):
    """How an execution stands (labels and sentences: `prompts.states`)."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Will retry"
    PENDING = "pending", "Vendor is working"
    HELD = "held", "On hold"
    BLOCKED = "blocked", "Waits for its turn"
    HANDED_OVER = "handed_over", "Sent to the app"
    DONE = "done", "Done"
    SKIPPED = "skipped", "Skipped"
    REJECTED = "rejected", "Refused"
    UNCERTAIN = "uncertain", "Needs checking"
    GAVE_UP = "gave_up", "Gave up"
    NOT_SENT = "not_sent", "Not sent"
    CLOSED = "closed", "Closed"


class Reason(StrEnum):
    """Why an execution is in its state, in a word for filters, alerts and an index; a connector's own stand beside these."""

    # It was planned so.
    LIMIT = "limit"
    MODE = "mode"
    DRAFT = "draft"
    EARLY = "early"
    ENDED = "ended"
    STOPPED = "stopped"  # skipped, since an earlier action stopped it: it comes back when that one is done
    MISSING = runner.MISSING

    # It is not its turn.
    TOO_OLD = "too_old"
    DAILY_LIMIT = "daily_limit"
    INACTIVE = "inactive"
    CREDENTIALS = runner.CREDENTIALS
    PAUSED = runner.PAUSED  # its connection pauses; where it was not sent, the prompt did
    SETTLING = "settling"  # the vendor's read cannot show yet what was written just before

    # It was tried, or cannot be any more.
    LOST_ANSWER = runner.LOST_ANSWER
    WORKER_DIED = "worker_died"
    UNSETTLED = "unsettled"
    OVERTAKEN = "overtaken"
    COUNTED = "counted"  # for an earlier answer
    GONE = "gone"  # with its connector or action

    # Somebody said so, or nobody did.
    CLOSED = "closed"
    NO_REPORT = "no_report"
    CLIENT_FAILED = "client_failed"
    CLIENT_CANCELLED = "client_cancelled"


CLAIMABLE = (State.QUEUED, State.WAITING, State.PENDING)
OPEN = (*CLAIMABLE, State.RUNNING, State.HELD, State.BLOCKED, State.UNCERTAIN)
"""What is not at its end. `handed_over` is open while `due_at` says until when a report is waited for."""
HELD_FOR_A_PERSON = (Reason.TOO_OLD, Reason.DAILY_LIMIT)
"""Reasons for which an execution is held until a person decides; others go on once their connection is well."""
NOTHING_HAPPENED = (State.SKIPPED, State.REJECTED, State.GAVE_UP, State.NOT_SENT, State.CLOSED)
"""Ends after which the effect is not there (for *Stop*, for what the app is told, and for giving the limit back)."""
LOOKED_FOR = (
    State.BLOCKED,
    State.CLOSED,
    State.GAVE_UP,
    State.HANDED_OVER,
    State.HELD,
    State.NOT_SENT,
    State.REJECTED,
    State.SKIPPED,
    State.UNCERTAIN,
    State.WAITING,
)
"""States by which Live finds executions in an index. Those that every execution passes through are left out, which would cost
each of them two entries: the first have indexes of their own, and what is done is found on any page."""


class Execution(models.Model):
    """One binding carried out for one event. The row is the queue."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="executions", db_index=False)
    event = models.ForeignKey(PromptEvent, on_delete=models.CASCADE, related_name="executions")
    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="executions", db_index=False)
    binding = models.ForeignKey(
        Binding, null=True, on_delete=models.RESTRICT, related_name="executions", db_index=False
    )  # null: a forward, or an action that was asked for directly
    connection = models.ForeignKey(
        Connection, null=True, on_delete=models.RESTRICT, related_name="executions", db_index=False
    )
    batch = models.ForeignKey("Batch", null=True, on_delete=models.SET_NULL, related_name="executions", db_index=False)
    rerun_of = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="reruns", db_index=False)

    # Frozen when planned.
    connector = models.CharField(max_length=40)
    action = models.CharField(max_length=60)
    is_forward = models.BooleanField(default=False)  # of an analytics connector: batched, outside order
    position = models.PositiveIntegerField(default=0)
    on_error = models.CharField(max_length=8, choices=OnError.choices, default=OnError.STOP)
    inputs = models.JSONField(default=dict)  # resolved values
    connection_generation = models.PositiveIntegerField(default=1)
    expires_at = models.DateTimeField(null=True)  # an older answer is not carried out (until a write has left)

    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)  # why held, skipped or not sent: one word for filters
    message = models.TextField(blank=True)  # the sentence of how it stands
    due_at = models.DateTimeField(null=True)
    attempts_made = models.PositiveIntegerField(default=0)
    polls = models.PositiveIntegerField(default=0)
    # Claim: who works on it, until when, and the fence that a late worker no longer has.
    worker = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    # While it runs: which of its connection's slots it has. None for forwards, which go one batch at a time.
    slot = models.PositiveSmallIntegerField(null=True)

    # What makes a repeat safe.
    may_have_acted = models.BooleanField(
        default=False
    )  # a write of some attempt left us, and its answer did not settle it
    first_write_at = models.DateTimeField(null=True)
    steps = models.JSONField(default=dict)  # step -> {"generation", "sent": {"method", "url", "query", "body"}}
    traits = models.JSONField(default=dict)  # what the attempt that wrote was given; kept for the later ones
    job = models.JSONField(null=True)  # pending: what the vendor accepted
    pending_since = models.DateTimeField(null=True)
    instruction = models.JSONField(null=True)  # handed over: what the client is to do
    report = models.JSONField(null=True)  # handed over: what the client said
    # A digest of the vendor's name of the purchase that showed it done: no purchase shows two executions done.
    receipt = models.CharField(max_length=64, blank=True)

    decided_by = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "subscriber"],
                condition=Q(state="running", is_forward=False),
                name="one_at_a_time_per_person",
            ),
            models.UniqueConstraint(
                fields=["event", "connection"], condition=Q(is_forward=True), name="forwarded_once"
            ),
            models.UniqueConstraint(
                fields=["connection", "slot"], condition=Q(state="running"), name="one_execution_per_slot"
            ),
            models.UniqueConstraint(
                fields=["connection", "receipt"], condition=~Q(receipt=""), name="one_execution_per_receipt"
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="execution_due",
                condition=Q(state__in=["queued", "waiting", "pending"], is_forward=False),
            ),
            # Of its own: however many events wait to be forwarded, no action is behind them.
            models.Index(
                fields=["connection", "due_at"],
                name="execution_forward_due",
                condition=Q(state__in=["queued", "waiting"], is_forward=True),
            ),
            models.Index(fields=["lease_until"], name="execution_leased", condition=Q(state="running")),
            models.Index(
                fields=["due_at"], name="execution_unreported", condition=Q(state="handed_over", due_at__isnull=False)
            ),
            models.Index(fields=["connection", "due_at"], name="execution_held", condition=Q(state="held")),
            models.Index(
                fields=["app", "state", "-created_at", "-id"],
                name="execution_state",
                condition=Q(state__in=LOOKED_FOR),
            ),
            models.Index(
                fields=["app", "is_forward", "settled_at"], name="execution_gave_up", condition=Q(state="gave_up")
            ),
            models.Index(
                fields=["app", "-created_at"],
                name="execution_missing",
                condition=Q(state="skipped", reason=runner.MISSING),
            ),
            models.Index(fields=["app", "-created_at", "-id"], name="execution_live"),
            # Forwards outnumber actions by far, and most pages leave them out.
            models.Index(fields=["app", "-created_at", "-id"], name="execution_actions", condition=Q(is_forward=False)),
            models.Index(fields=["subscriber", "-created_at"], name="execution_subscriber"),
            models.Index(fields=["binding", "-created_at"], name="execution_binding"),
            models.Index(fields=["connection", "-created_at"], name="execution_connection"),
            # Most have neither, and would pay for an entry each time they change.
            models.Index(fields=["batch"], name="execution_batch", condition=Q(batch__isnull=False)),
            models.Index(fields=["rerun_of"], name="execution_rerun_of", condition=Q(rerun_of__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.connector}.{self.action}"

    @property
    def standing(self) -> str:
        """How it stands: its state, and the fence of its last claim. A page tells by it that nothing happened since it was seen."""
        return f"{self.state}/{self.fence}"

    @property
    def may_have_happened(self) -> bool:
        """Whether a write may have acted, or the vendor has accepted a job that is not settled: nobody may take it for undone."""
        return self.may_have_acted or self.job is not None

    @property
    def wants_report(self) -> bool:
        """Whether the client carries it out and has not said yet what came of it."""
        return self.state == State.HANDED_OVER and self.due_at is not None


LOST = "lost"
"""The outcome of an attempt whose worker died, or came too late."""


class Attempt(models.Model):
    """One try of an execution. The row is stored before the try begins, and completed whatever becomes of it."""

    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    fence = models.PositiveIntegerField()
    worker = models.CharField(max_length=80)
    started_at = models.DateTimeField()
    write_begun_at = models.DateTimeField(null=True)  # stored before each write: tells "uncertain" from "never sent"
    # With it, until the execution is settled: the columns of the execution that a repeat needs, by name.
    write_begun_with = models.JSONField(null=True)
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=12, blank=True)  # a State, or LOST
    # For the circuit breaker: in which account it was, and whether it ended in a passing trouble there (None: nobody was asked).
    connection = models.ForeignKey(
        Connection, null=True, on_delete=models.CASCADE, related_name="attempts", db_index=False
    )
    vendor_failed = models.BooleanField(null=True)
    message = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["execution", "fence"], name="attempt_fence_once")]
        indexes = [
            models.Index(fields=["started_at"], name="attempt_age"),
            models.Index(
                fields=["connection", "-finished_at"],
                name="attempt_verdicts",
                condition=Q(vendor_failed__isnull=False),
            ),
        ]


class AttemptBody(models.Model):
    """What was sent and answered in an attempt, redacted: a list of exchanges (see `connectors.journal.Exchange`)."""

    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, primary_key=True, related_name="body")
    exchanges = models.JSONField(default=list)


class Batch(models.Model):
    """Events that a forwarder sends in one request. Stored before the request leaves, and completed whatever becomes of it.

    An open one is the claim on its executions (those that are running and point to it) and on its connection: there is one
    at a time. Whoever settles must find it open.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="batches", db_index=False)
    worker = models.CharField(max_length=80)
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    write_begun_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    pause_until = models.DateTimeField(null=True)  # the vendor took nothing: no other batch leaves before
    events = models.PositiveIntegerField(default=0)
    accepted = models.PositiveIntegerField(default=0)
    problem = models.TextField(blank=True)  # why not all were accepted

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection"], condition=Q(finished_at=None), name="one_batch_at_a_time")
        ]
        indexes = [models.Index(fields=["connection", "-started_at"], name="batch_recent")]
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return f"{self.connection}, {self.events} events"


class BatchBody(models.Model):
    """What was sent and answered in a batch, redacted: the exchanges without their bodies, and each event's part of those."""

    batch = models.OneToOneField(Batch, on_delete=models.CASCADE, primary_key=True, related_name="body")
    exchanges = models.JSONField(default=list)
    payloads = models.JSONField(default=dict)  # execution's id -> payload


class Refusal(models.Model):
    """Requests that the runtime API refused, counted by the hour. No bodies: what is refused may be anybody's."""

    app = models.ForeignKey(App, null=True, on_delete=models.CASCADE, related_name="refusals")
    hour = models.DateTimeField()
    endpoint = models.CharField(max_length=60)
    reason = models.CharField(max_length=40)
    detail = models.CharField(max_length=200, blank=True)  # e.g. the foreign origin, or the unknown prompt's key
    count = models.PositiveIntegerField(default=1)
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "hour", "endpoint", "reason", "detail"], name="refusal_per_hour"),
            # SQLite knows no NULLS NOT DISTINCT: requests that belong to no App have a constraint of their own.
            models.UniqueConstraint(
                fields=["hour", "endpoint", "reason", "detail"],
                condition=Q(app=None),
                name="refusal_per_hour_of_nobody",
            ),
        ]
        indexes = [models.Index(fields=["app", "-last_at"], name="refusal_recent")]
