"""All tables as they stand, for a new database. One that has some of the steps below goes on step by step."""

import django.db.models.deletion
import engage.vault.fields
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("connectors", "0001_initial"),
        ("connectors", "0002_initial"),
        ("connectors", "0003_breaker"),
        ("connectors", "0004_scripts"),
        ("connectors", "0005_archived"),
        ("connectors", "0006_attention_parts"),
    ]

    initial = True

    dependencies = [
        ("tenancy", "0002_second_factor"),
    ]

    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("generation", models.PositiveIntegerField(default=1, editable=False)),
                ("sealed", engage.vault.fields.SealedTextField(editable=False, null=True)),
                ("secrets_set", models.JSONField(default=dict, editable=False)),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("connector", models.CharField(max_length=40)),
                ("name", models.CharField(blank=True, max_length=80)),
                ("settings", models.JSONField(default=dict)),
                ("active", models.BooleanField(default=False)),
                (
                    "health",
                    models.CharField(
                        choices=[("unknown", "Not tested"), ("healthy", "Healthy"), ("attention", "Needs attention")],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                ("attention", models.TextField(blank=True)),
                ("held_since", models.DateTimeField(null=True)),
                ("tested_at", models.DateTimeField(null=True)),
                ("test_passed", models.BooleanField(null=True)),
                ("test_result", models.JSONField(default=list)),
                ("secrets_set_at", models.DateTimeField(null=True)),
                ("last_success_at", models.DateTimeField(null=True)),
                ("next_free_at", models.DateTimeField(null=True)),
                ("closed_until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("app", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="connections", to="tenancy.app")),
                (
                    "secrets_set_by",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL),
                ),
                (
                    "tested_by",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL),
                ),
                ("counted_from", models.DateTimeField(null=True)),
                ("pauses", models.PositiveSmallIntegerField(default=0)),
                ("archived_at", models.DateTimeField(null=True)),
                ("attention_parts", models.JSONField(default=list)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("app", "connector", "name"), name="one_connection_per_connector")],
            },
        ),
        migrations.CreateModel(
            name="CatalogueEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("catalogue", models.CharField(max_length=40)),
                ("key", models.CharField(max_length=200)),
                ("label", models.CharField(max_length=300)),
                ("data", models.JSONField(default=dict)),
                ("position", models.PositiveIntegerField(default=0)),
                ("vanished_at", models.DateTimeField(null=True)),
                (
                    "connection",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="catalogue_entries", to="connectors.connection"),
                ),
            ],
            options={
                "verbose_name_plural": "catalogue entries",
                "indexes": [
                    models.Index(condition=models.Q(("vanished_at", None)), fields=["connection", "catalogue", "position"], name="catalogue_offered")
                ],
                "constraints": [models.UniqueConstraint(fields=("connection", "catalogue", "key"), name="catalogue_entry_once")],
            },
        ),
        migrations.CreateModel(
            name="CatalogueState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("catalogue", models.CharField(max_length=40)),
                ("refreshed_at", models.DateTimeField(null=True)),
                ("tried_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
                (
                    "connection",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="catalogue_states", to="connectors.connection"),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("connection", "catalogue"), name="catalogue_state_once")],
            },
        ),
        migrations.CreateModel(
            name="Script",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("text", models.TextField()),
                ("published_at", models.DateTimeField()),
                ("replaced_at", models.DateTimeField(null=True)),
                ("connection", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="scripts", to="connectors.connection")),
                (
                    "published_by",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={
                "indexes": [models.Index(condition=models.Q(("replaced_at__isnull", False)), fields=["replaced_at"], name="script_replaced")],
                "constraints": [models.UniqueConstraint(fields=("sha256", "connection"), name="script_once")],
            },
        ),
    ]
