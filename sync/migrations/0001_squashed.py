"""All tables as they stand, for a new database. One that has some of the steps below goes on step by step."""

import django.db.models.deletion
import django.utils.timezone
import engage.vault.fields
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("sync", "0001_initial"),
        ("sync", "0002_initial"),
        ("sync", "0003_source_rules_and_uploads"),
        ("sync", "0004_source_without_mapping"),
        ("sync", "0005_inbound"),
        ("sync", "0006_fast_imports"),
        ("sync", "0007_webhooks_in_words"),
        ("sync", "0008_last_word_of_a_subscriber"),
        ("sync", "0009_rejected_rows_whole"),
        ("sync", "0010_pulls"),
        ("sync", "0011_push_endpoints"),
        ("sync", "0012_pushes"),
        ("sync", "0013_rereads"),
    ]

    initial = True

    dependencies = [
        ("connectors", "0006_attention_parts"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("tenancy", "0002_second_factor"),
    ]

    operations = [
        migrations.CreateModel(
            name="Source",
            fields=[
                ("generation", models.PositiveIntegerField(default=1, editable=False)),
                ("sealed", engage.vault.fields.SealedTextField(editable=False, null=True)),
                ("secrets_set", models.JSONField(default=dict, editable=False)),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                ("bucket", models.CharField(max_length=63)),
                ("prefix", models.CharField(blank=True, max_length=500)),
                ("region", models.CharField(default="us-east-1", max_length=40)),
                ("endpoint_url", models.URLField(blank=True)),
                ("access_key_id", models.CharField(blank=True, max_length=128)),
                ("id_column", models.CharField(max_length=120)),
                (
                    "mode",
                    models.CharField(
                        choices=[("changes", "Changes: every file counts, oldest first"), ("snapshots", "Snapshots: only the newest file counts")],
                        default="changes",
                        max_length=10,
                    ),
                ),
                ("time_zone", models.CharField(default="UTC", max_length=60)),
                ("schedule_since", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("paused", models.BooleanField(default=False)),
                ("checked_at", models.DateTimeField(null=True)),
                ("problem", models.TextField(blank=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("app", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="sources", to="tenancy.app")),
                (
                    "crontab",
                    models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to="django_celery_beat.crontabschedule"),
                ),
                (
                    "interval",
                    models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to="django_celery_beat.intervalschedule"),
                ),
                (
                    "access",
                    models.CharField(
                        choices=[
                            ("key", "An access key of its own"),
                            ("default", "This server's own AWS credentials"),
                            ("role", "A role that this server assumes"),
                            ("upload", "No bucket: files are uploaded by hand"),
                            ("api", "No bucket: a vendor is read over its API"),
                        ],
                        default="key",
                        max_length=8,
                    ),
                ),
                ("alert_after_days", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("alerted_at", models.DateTimeField(editable=False, null=True)),
                ("columns", models.JSONField(default=dict)),
                (
                    "empty_cells",
                    models.CharField(
                        choices=[("keep", "Nothing: what is known stays"), ("clear", "It is not known any more: the trait is removed")],
                        default="keep",
                        max_length=5,
                    ),
                ),
                ("external_id", models.CharField(blank=True, max_length=1224)),
                (
                    "misfit",
                    models.CharField(
                        choices=[
                            ("drop_row", "The row is rejected"),
                            ("keep_row", "The cell is left out and reported, the rest of the row is imported"),
                        ],
                        default="drop_row",
                        max_length=8,
                    ),
                ),
                ("pattern", models.CharField(blank=True, max_length=200)),
                ("role_arn", models.CharField(blank=True, max_length=2048)),
                (
                    "row_wins",
                    models.CharField(
                        choices=[
                            ("last", "The last one in the file"),
                            ("newest_by", "The one with the newest date in a column"),
                            ("first_active", "The first one that has a certain value in a column, else the last one"),
                        ],
                        default="last",
                        max_length=12,
                    ),
                ),
                ("row_wins_column", models.CharField(blank=True, max_length=120)),
                ("row_wins_value", models.CharField(blank=True, max_length=120)),
                ("trait_prefix", models.CharField(blank=True, max_length=40)),
                ("lease_holder", models.UUIDField(editable=False, null=True)),
                (
                    "connection",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="sources", to="connectors.connection"),
                ),
                ("pull", models.CharField(blank=True, max_length=40)),
                (
                    "content",
                    models.CharField(
                        choices=[
                            ("subscribers", "A subscriber, with what is known of them"),
                            ("endpoints", "A push endpoint: an address of a subscriber on one channel"),
                        ],
                        default="subscribers",
                        max_length=12,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("app", "name"), name="source_name_in_app"),
                    models.CheckConstraint(condition=models.Q(("crontab", None), ("interval", None), _connector="OR"), name="source_one_schedule"),
                    models.UniqueConstraint(fields=("connection", "pull"), name="source_once_per_pull"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ImportRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("object_key", models.CharField(max_length=1024)),
                ("etag", models.CharField(max_length=128)),
                ("size", models.BigIntegerField(default=0)),
                ("modified_at", models.DateTimeField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("uploaded", "Uploaded, to be looked at"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("done_rejected", "Done with rejected rows"),
                            ("stopped", "Stopped"),
                            ("failed", "Failed"),
                            ("superseded", "Superseded by a newer file"),
                            ("same", "Same content as another file"),
                        ],
                        default="running",
                        max_length=16,
                    ),
                ),
                ("message", models.TextField(blank=True)),
                ("started_by", models.CharField(blank=True, max_length=254)),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("staged", models.BooleanField(default=False)),
                ("bytes_read", models.BigIntegerField(default=0)),
                ("rows_read", models.BigIntegerField(default=0)),
                ("rows_new", models.BigIntegerField(default=0)),
                ("rows_changed", models.BigIntegerField(default=0)),
                ("rows_unchanged", models.BigIntegerField(default=0)),
                ("rows_superseded", models.BigIntegerField(default=0)),
                ("rows_rejected", models.BigIntegerField(default=0)),
                ("note", models.TextField(blank=True)),
                ("starts", models.PositiveIntegerField(default=0)),
                ("merged_through", models.BigIntegerField(default=0)),
                ("app", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="import_runs", to="tenancy.app")),
                ("source", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="runs", to="sync.source")),
                ("uploaded", models.BooleanField(default=False)),
                ("bucket", models.CharField(max_length=63)),
                ("content_digest", models.CharField(blank=True, max_length=64)),
                ("rules_digest", models.CharField(blank=True, max_length=32)),
                ("columns", models.JSONField(default=list, editable=False)),
                ("changed_since", models.DateTimeField(null=True)),
                ("read_as", models.CharField(blank=True, max_length=80)),
                ("rows_shared", models.BigIntegerField(default=0)),
                ("rows_unmatched", models.BigIntegerField(default=0)),
            ],
            options={
                "indexes": [models.Index(fields=["app", "-id"], name="import_run_app")],
                "constraints": [models.UniqueConstraint(fields=("source", "bucket", "object_key", "etag", "size"), name="object_once_per_source")],
            },
        ),
        migrations.CreateModel(
            name="RejectedRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("line", models.BigIntegerField()),
                ("column", models.CharField(blank=True, max_length=120)),
                ("reason", models.CharField(max_length=300)),
                ("value", models.CharField(blank=True, max_length=200)),
                ("run", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="rejected_rows", to="sync.importrun")),
                ("cells", models.TextField(blank=True, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="Subscriber",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("user_id", models.CharField(max_length=200)),
                ("traits", models.JSONField(default=dict)),
                ("is_test", models.BooleanField(default=False, help_text="Served while the App's delivery mode is “Test subscribers only”.")),
                ("test_note", models.CharField(blank=True, max_length=200)),
                ("test_until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("app", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="subscribers", to="tenancy.app")),
                (
                    "test_added_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("import_digest", models.BigIntegerField(editable=False, null=True)),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("is_test", True)), fields=["app"], name="subscriber_test"),
                    models.Index(condition=models.Q(("test_added_by__isnull", False)), fields=["test_added_by"], name="subscriber_test_by"),
                ],
                "constraints": [models.UniqueConstraint(fields=("app", "user_id"), name="subscriber_once")],
            },
        ),
        migrations.CreateModel(
            name="Trait",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                (
                    "type",
                    models.CharField(
                        choices=[("text", "Text"), ("number", "Number"), ("boolean", "Yes or no"), ("date", "Date and time")],
                        default="text",
                        max_length=10,
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=200)),
                ("personal", models.BooleanField(default=True, help_text="Masked for people who may only read.")),
                ("confirmed", models.BooleanField(default=True)),
                ("origin", models.CharField(blank=True, editable=False, max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("app", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="traits", to="tenancy.app")),
                (
                    "found_type",
                    models.CharField(
                        blank=True,
                        choices=[("text", "Text"), ("number", "Number"), ("boolean", "Yes or no"), ("date", "Date and time")],
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("misfits", models.PositiveBigIntegerField(default=0, editable=False)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("app", "name"), name="trait_once")],
            },
        ),
        migrations.CreateModel(
            name="SourceMail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("when", models.CharField(choices=[("problems", "When something needs attention"), ("always", "After every file")], max_length=8)),
                ("source", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="mails", to="sync.source")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("source", "user"), name="source_mail_once")],
            },
        ),
        migrations.CreateModel(
            name="TraitColumn",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("column", models.CharField(max_length=120)),
                ("seen_at", models.DateTimeField()),
                ("source", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="trait_columns", to="sync.source")),
                ("trait", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="columns", to="sync.trait")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("trait", "source"), name="trait_column_once")],
            },
        ),
        migrations.CreateModel(
            name="UploadPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                ("run", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="parts", to="sync.importrun")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("run", "number"), name="upload_part_once")],
            },
        ),
        migrations.CreateModel(
            name="RefusedDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("reason", models.CharField(max_length=200)),
                (
                    "connection",
                    models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name="refused_delivery", to="connectors.connection"),
                ),
            ],
            options={
                "verbose_name_plural": "refused deliveries",
            },
        ),
        migrations.CreateModel(
            name="InboundMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=200)),
                ("type", models.CharField(blank=True, max_length=120)),
                ("happened_at", models.DateTimeField(null=True)),
                ("received_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("payload", models.JSONField(default=dict)),
                ("request", models.JSONField(null=True)),
                ("body", models.BinaryField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting"),
                            ("done", "Done"),
                            ("ignored", "Not used"),
                            ("unmatched", "Nobody found"),
                            ("overtaken", "Overtaken"),
                            ("failed", "Could not be read"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("fence", models.PositiveIntegerField(default=0)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("settled_at", models.DateTimeField(null=True)),
                ("app", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="messages", to="tenancy.app")),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="messages", to="connectors.connection"
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="messages", to="sync.subscriber"),
                ),
            ],
            options={
                "verbose_name": "message",
                "indexes": [
                    models.Index(condition=models.Q(("state", "queued")), fields=["due_at"], name="message_due"),
                    models.Index(fields=["connection", "-id"], name="message_connection"),
                    models.Index(fields=["app", "-id"], name="message_app"),
                    models.Index(fields=["received_at"], name="message_received"),
                ],
                "constraints": [models.UniqueConstraint(fields=("connection", "event_id"), name="message_once")],
                "verbose_name_plural": "webhooks",
            },
        ),
        migrations.CreateModel(
            name="LastWord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(max_length=200)),
                ("as_of", models.DateTimeField()),
                (
                    "connection",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="connectors.connection"),
                ),
                ("subscriber", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="sync.subscriber")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("connection", "subject", "subscriber"), name="last_word_of_subscriber_once")],
            },
        ),
        migrations.CreateModel(
            name="PushRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(choices=[("open", "Under way"), ("done", "Done"), ("failed", "Failed")], default="open", max_length=6)),
                ("message", models.TextField(blank=True)),
                ("refusal", models.TextField(blank=True)),
                ("started_by", models.CharField(max_length=254)),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(null=True)),
                ("changed_since", models.DateTimeField(null=True)),
                ("pushed_as", models.CharField(max_length=90)),
                ("cursor", models.BigIntegerField(default=0)),
                ("taken", models.BigIntegerField(default=0)),
                ("refused", models.BigIntegerField(default=0)),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("fence", models.PositiveIntegerField(default=0)),
                ("tries", models.PositiveIntegerField(default=0)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="push_runs", to="connectors.connection"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["connection", "-id"], name="push_connection")],
                "constraints": [models.UniqueConstraint(condition=models.Q(("state", "open")), fields=("connection",), name="push_one_open")],
            },
        ),
        migrations.CreateModel(
            name="RereadRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(choices=[("open", "Under way"), ("done", "Done"), ("failed", "Failed")], default="open", max_length=6)),
                ("message", models.TextField(blank=True)),
                ("refusal", models.TextField(blank=True)),
                ("started_by", models.CharField(max_length=254)),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(null=True)),
                ("cursor", models.BigIntegerField(default=0)),
                ("taken", models.BigIntegerField(default=0)),
                ("refused", models.BigIntegerField(default=0)),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("fence", models.PositiveIntegerField(default=0)),
                ("tries", models.PositiveIntegerField(default=0)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="reread_runs", to="connectors.connection"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["connection", "-id"], name="reread_connection")],
                "constraints": [models.UniqueConstraint(condition=models.Q(("state", "open")), fields=("connection",), name="reread_one_open")],
            },
        ),
    ]
