"""All tables as they stand, for a new database. One that has some of the steps below goes on step by step."""

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("prompts", "0001_initial"),
        ("prompts", "0002_initial"),
        ("prompts", "0003_slots"),
        ("prompts", "0004_attempt_age"),
        ("prompts", "0005_forwarding"),
        ("prompts", "0006_breaker"),
        ("prompts", "0007_execution_actions"),
        ("prompts", "0008_skipped_missing"),
        ("prompts", "0009_receipts"),
        ("prompts", "0010_event_test"),
        ("prompts", "0011_execution_state"),
    ]

    initial = True

    dependencies = [
        ("connectors", "0006_attention_parts"),
        ("sync", "0013_rereads"),
        ("tenancy", "0002_second_factor"),
    ]

    operations = [
        migrations.CreateModel(
            name="Prompt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.SlugField(help_text="Names the prompt in the API. It stays when the name changes.", max_length=60)),
                ("name", models.CharField(max_length=120)),
                (
                    "type",
                    models.CharField(
                        choices=[("popup", "Popup"), ("notification", "Notification"), ("banner", "Banner")], default="popup", max_length=12
                    ),
                ),
                ("status", models.CharField(choices=[("draft", "Draft"), ("live", "Live"), ("paused", "Paused")], default="draft", max_length=8)),
                ("title", models.CharField(help_text="May hold traits: {{ first_name }}.", max_length=200)),
                ("message", models.TextField(blank=True, help_text="May hold traits: {{ first_name }}.")),
                ("accept_label", models.CharField(default="Yes, please", max_length=60, verbose_name="accept button")),
                (
                    "secondary_label",
                    models.CharField(blank=True, help_text="Empty: no second button.", max_length=60, verbose_name="second accept button"),
                ),
                ("decline_label", models.CharField(blank=True, help_text="Empty: no decline button.", max_length=60, verbose_name="decline button")),
                ("timeout_seconds", models.PositiveIntegerField(blank=True, help_text="Empty: it stays until it is answered.", null=True)),
                ("inputs", models.JSONField(blank=True, default=list)),
                (
                    "url_pattern",
                    models.CharField(
                        blank=True, help_text="Paths on which it is shown, with * as wildcard, e.g. /account*. Empty: on all.", max_length=300
                    ),
                ),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "limit",
                    models.CharField(
                        choices=[("once", "Once"), ("every_days", "Every N days"), ("none", "No limit")],
                        default="once",
                        max_length=10,
                        verbose_name="limit per subscriber",
                    ),
                ),
                ("limit_days", models.PositiveIntegerField(blank=True, null=True)),
                ("text_done", models.CharField(default="Done. Thank you!", max_length=200, verbose_name="text when done")),
                (
                    "text_follows",
                    models.CharField(default="Thank you. This will take effect shortly.", max_length=200, verbose_name="text when it will follow"),
                ),
                (
                    "text_not_possible",
                    models.CharField(default="Sorry, this was not possible.", max_length=200, verbose_name="text when not possible"),
                ),
                ("version", models.PositiveIntegerField(default=1, editable=False)),
                ("archived_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("app", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="prompts", to="tenancy.app")),
                (
                    "updated_by",
                    models.ForeignKey(
                        editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("app", "key"), name="prompt_key_in_app"),
                    models.CheckConstraint(
                        condition=models.Q(models.Q(("limit", "every_days"), _negated=True), ("limit_days__gt", 0), _connector="OR"),
                        name="prompt_limit_has_days",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("ends_at", None), ("starts_at", None), ("ends_at__gt", models.F("starts_at")), _connector="OR"),
                        name="prompt_ends_after_start",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PromptEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.UUIDField(default=uuid.uuid4)),
                ("prompt_version", models.PositiveIntegerField(null=True)),
                ("interaction", models.CharField(max_length=16)),
                ("inputs", models.JSONField(default=dict)),
                ("context", models.JSONField(default=dict)),
                ("digest", models.CharField(max_length=64)),
                (
                    "source",
                    models.CharField(
                        choices=[("api", "Runtime API"), ("console", "Console"), ("command", "Command line")], default="api", max_length=8
                    ),
                ),
                ("mode", models.CharField(max_length=10)),
                ("is_test", models.BooleanField(default=False)),
                ("reference", models.CharField(max_length=12)),
                ("reported_by", models.CharField(blank=True, max_length=254)),
                ("limit_reached", models.BooleanField(default=False)),
                ("received_at", models.DateTimeField()),
                ("app", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="events", to="tenancy.app")),
                (
                    "prompt",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="events", to="prompts.prompt"
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="events", to="sync.subscriber"),
                ),
                ("address", models.GenericIPAddressField(null=True)),
                ("user_agent", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["app", "-received_at", "-id"], name="event_live"),
                    models.Index(
                        condition=models.Q(("interaction", "impression"), _negated=True), fields=["app", "-received_at", "-id"], name="event_answers"
                    ),
                    models.Index(fields=["subscriber", "-received_at", "-id"], name="event_subscriber"),
                    models.Index(fields=["prompt", "-received_at", "-id"], name="event_prompt"),
                    models.Index(fields=["app", "reference"], name="event_reference"),
                    models.Index(condition=models.Q(("is_test", True)), fields=["app", "-received_at", "-id"], name="event_test"),
                ],
                "constraints": [models.UniqueConstraint(fields=("app", "event_id"), name="event_once")],
            },
        ),
        migrations.CreateModel(
            name="LimitTaken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("taken_at", models.DateTimeField()),
                ("subscriber", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="limits_taken", to="sync.subscriber")),
                ("prompt", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="limits_taken", to="prompts.prompt")),
                ("event", models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="prompts.promptevent")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("prompt", "subscriber"), name="limit_once")],
            },
        ),
        migrations.CreateModel(
            name="PromptVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("content", models.JSONField()),
                ("bindings", models.JSONField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(blank=True, max_length=254)),
                ("superseded_at", models.DateTimeField(null=True)),
                ("prompt", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="prompts.prompt")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("prompt", "number"), name="prompt_version_once")],
            },
        ),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                ("endpoint", models.CharField(max_length=60)),
                ("reason", models.CharField(max_length=40)),
                ("detail", models.CharField(blank=True, max_length=200)),
                ("count", models.PositiveIntegerField(default=1)),
                ("last_at", models.DateTimeField()),
                ("app", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="refusals", to="tenancy.app")),
            ],
            options={
                "indexes": [models.Index(fields=["app", "-last_at"], name="refusal_recent")],
                "constraints": [
                    models.UniqueConstraint(fields=("app", "hour", "endpoint", "reason", "detail"), name="refusal_per_hour"),
                    models.UniqueConstraint(
                        condition=models.Q(("app", None)), fields=("hour", "endpoint", "reason", "detail"), name="refusal_per_hour_of_nobody"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="batches", to="connectors.connection"
                    ),
                ),
                ("accepted", models.PositiveIntegerField(default=0)),
                ("events", models.PositiveIntegerField(default=0)),
                ("finished_at", models.DateTimeField(null=True)),
                ("lease_until", models.DateTimeField()),
                ("pause_until", models.DateTimeField(null=True)),
                ("problem", models.TextField(blank=True)),
                ("started_at", models.DateTimeField()),
                ("worker", models.CharField(max_length=80)),
                ("write_begun_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["connection", "-started_at"], name="batch_recent")],
                "constraints": [
                    models.UniqueConstraint(condition=models.Q(("finished_at", None)), fields=("connection",), name="one_batch_at_a_time")
                ],
                "verbose_name_plural": "batches",
            },
        ),
        migrations.CreateModel(
            name="Binding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "interaction",
                    models.CharField(
                        choices=[
                            ("accept", "Accept"),
                            ("secondary_accept", "Secondary accept"),
                            ("decline", "Decline"),
                            ("dismiss", "Dismiss"),
                            ("timeout", "Timeout"),
                        ],
                        max_length=16,
                    ),
                ),
                ("position", models.PositiveIntegerField(default=0)),
                ("connector", models.CharField(max_length=40)),
                ("action", models.CharField(max_length=60)),
                ("inputs", models.JSONField(default=dict)),
                ("on_error", models.CharField(choices=[("stop", "Stop"), ("continue", "Continue")], default="stop", max_length=8)),
                ("enabled", models.BooleanField(default=True)),
                ("daily_limit", models.PositiveIntegerField(default=1000)),
                ("max_age_hours", models.PositiveIntegerField(default=72)),
                ("problem", models.TextField(blank=True)),
                ("checked_at", models.DateTimeField(null=True)),
                ("archived_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "connection",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name="bindings", to="connectors.connection"
                    ),
                ),
                ("prompt", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="bindings", to="prompts.prompt")),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("archived_at", None)), fields=["prompt", "interaction", "position"], name="binding_lane")
                ],
            },
        ),
        migrations.CreateModel(
            name="Execution",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("connector", models.CharField(max_length=40)),
                ("action", models.CharField(max_length=60)),
                ("is_forward", models.BooleanField(default=False)),
                ("position", models.PositiveIntegerField(default=0)),
                ("on_error", models.CharField(choices=[("stop", "Stop"), ("continue", "Continue")], default="stop", max_length=8)),
                ("inputs", models.JSONField(default=dict)),
                ("connection_generation", models.PositiveIntegerField(default=1)),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("waiting", "Will retry"),
                            ("pending", "Vendor is working"),
                            ("held", "On hold"),
                            ("blocked", "Waits for its turn"),
                            ("handed_over", "Sent to the app"),
                            ("done", "Done"),
                            ("skipped", "Skipped"),
                            ("rejected", "Refused"),
                            ("uncertain", "Needs checking"),
                            ("gave_up", "Gave up"),
                            ("not_sent", "Not sent"),
                            ("closed", "Closed"),
                        ],
                        default="queued",
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=40)),
                ("message", models.TextField(blank=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("attempts_made", models.PositiveIntegerField(default=0)),
                ("polls", models.PositiveIntegerField(default=0)),
                ("worker", models.CharField(blank=True, max_length=80)),
                ("lease_until", models.DateTimeField(null=True)),
                ("fence", models.PositiveIntegerField(default=0)),
                ("may_have_acted", models.BooleanField(default=False)),
                ("first_write_at", models.DateTimeField(null=True)),
                ("steps", models.JSONField(default=dict)),
                ("traits", models.JSONField(default=dict)),
                ("job", models.JSONField(null=True)),
                ("pending_since", models.DateTimeField(null=True)),
                ("instruction", models.JSONField(null=True)),
                ("report", models.JSONField(null=True)),
                ("decided_by", models.CharField(blank=True, max_length=254)),
                ("decided_at", models.DateTimeField(null=True)),
                ("note", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField(null=True)),
                ("app", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="executions", to="tenancy.app")),
                ("batch", models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="executions", to="prompts.batch")),
                (
                    "binding",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name="executions", to="prompts.binding"
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name="executions", to="connectors.connection"
                    ),
                ),
                (
                    "rerun_of",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="reruns", to="prompts.execution"),
                ),
                (
                    "subscriber",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="executions", to="sync.subscriber"),
                ),
                ("event", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="executions", to="prompts.promptevent")),
                ("slot", models.PositiveSmallIntegerField(null=True)),
                ("receipt", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("state", "running")), fields=["lease_until"], name="execution_leased"),
                    models.Index(
                        condition=models.Q(("due_at__isnull", False), ("state", "handed_over")), fields=["due_at"], name="execution_unreported"
                    ),
                    models.Index(condition=models.Q(("state", "held")), fields=["connection", "due_at"], name="execution_held"),
                    models.Index(fields=["app", "-created_at", "-id"], name="execution_live"),
                    models.Index(fields=["subscriber", "-created_at"], name="execution_subscriber"),
                    models.Index(fields=["binding", "-created_at"], name="execution_binding"),
                    models.Index(fields=["connection", "-created_at"], name="execution_connection"),
                    models.Index(
                        condition=models.Q(("is_forward", False), ("state__in", ["queued", "waiting", "pending"])),
                        fields=["due_at"],
                        name="execution_due",
                    ),
                    models.Index(
                        condition=models.Q(("is_forward", True), ("state__in", ["queued", "waiting"])),
                        fields=["connection", "due_at"],
                        name="execution_forward_due",
                    ),
                    models.Index(condition=models.Q(("is_forward", False)), fields=["app", "-created_at", "-id"], name="execution_actions"),
                    models.Index(
                        condition=models.Q(("reason", "missing"), ("state", "skipped")), fields=["app", "-created_at"], name="execution_missing"
                    ),
                    models.Index(
                        condition=models.Q(
                            (
                                "state__in",
                                ("blocked", "closed", "gave_up", "handed_over", "held", "not_sent", "rejected", "skipped", "uncertain", "waiting"),
                            )
                        ),
                        fields=["app", "state", "-created_at", "-id"],
                        name="execution_state",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_forward", False), ("state", "running")),
                        fields=("connection", "subscriber"),
                        name="one_at_a_time_per_person",
                    ),
                    models.UniqueConstraint(condition=models.Q(("is_forward", True)), fields=("event", "connection"), name="forwarded_once"),
                    models.UniqueConstraint(condition=models.Q(("state", "running")), fields=("connection", "slot"), name="one_execution_per_slot"),
                    models.UniqueConstraint(
                        condition=models.Q(("receipt", ""), _negated=True), fields=("connection", "receipt"), name="one_execution_per_receipt"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("fence", models.PositiveIntegerField()),
                ("worker", models.CharField(max_length=80)),
                ("started_at", models.DateTimeField()),
                ("write_begun_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("outcome", models.CharField(blank=True, max_length=12)),
                ("message", models.TextField(blank=True)),
                ("execution", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="attempts", to="prompts.execution")),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="attempts", to="connectors.connection"
                    ),
                ),
                ("vendor_failed", models.BooleanField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["started_at"], name="attempt_age"),
                    models.Index(
                        condition=models.Q(("vendor_failed__isnull", False)), fields=["connection", "-finished_at"], name="attempt_verdicts"
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("execution", "fence"), name="attempt_fence_once")],
            },
        ),
        migrations.CreateModel(
            name="AttemptBody",
            fields=[
                (
                    "attempt",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="body", serialize=False, to="prompts.attempt"
                    ),
                ),
                ("exchanges", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="BindingDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("count", models.PositiveIntegerField(default=0)),
                ("binding", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="days", to="prompts.binding")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("binding", "day"), name="binding_day_once")],
            },
        ),
        migrations.CreateModel(
            name="BatchBody",
            fields=[
                (
                    "batch",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name="body", serialize=False, to="prompts.batch"
                    ),
                ),
                ("exchanges", models.JSONField(default=list)),
                ("payloads", models.JSONField(default=dict)),
            ],
        ),
    ]
