"""A vendor account of an App, and the vendor's rows that fill dropdowns."""

import uuid
from typing import Any

from django.db import models
from django.db.models import Q

from engage.tenancy.models import App, User
from engage.vault.models import Sealed


class Health(models.TextChoices):
    """What the last calls said of a connection."""

    UNKNOWN = "unknown", "Not tested"
    HEALTHY = "healthy", "Healthy"
    ATTENTION = "attention", "Needs attention"


class Connection(Sealed):
    """A configured vendor account. Its settings that are no secrets are in `settings`, the others are sealed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="connections")
    connector = models.CharField(max_length=40)  # no `choices`: a new vendor is no migration
    name = models.CharField(max_length=80, blank=True)  # only where an App may have several
    settings = models.JSONField(default=dict)
    active = models.BooleanField(default=False)
    health = models.CharField(max_length=10, choices=Health.choices, default=Health.UNKNOWN)
    attention = models.TextField(blank=True)  # the sentence of what is wrong
    attention_parts = models.JSONField(default=list)  # `Connector.parts` that it is about; empty: all of the vendor
    held_since = models.DateTimeField(null=True)  # since when its executions wait
    tested_at = models.DateTimeField(null=True)
    tested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    test_passed = models.BooleanField(null=True)
    test_result = models.JSONField(default=list)  # [[ok, text], ...]
    secrets_set_at = models.DateTimeField(null=True)
    secrets_set_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    last_success_at = models.DateTimeField(null=True)
    next_free_at = models.DateTimeField(null=True)  # rate limit: the next instant at which a request may leave
    # The circuit breaker (`connectors.breaker`): until when nothing leaves, how many pauses in a row that is, and the
    # instant from which attempts count.
    closed_until = models.DateTimeField(null=True)
    pauses = models.PositiveSmallIntegerField(default=0)
    counted_from = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)  # only where an App may have several: offered to nobody from then on
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["app", "connector", "name"], name="one_connection_per_connector")
        ]

    def __str__(self) -> str:
        from connectors.registry import connector_or_none

        declared = connector_or_none(self.connector)
        return self.name or (declared.label if declared else self.connector)

    def needs_attention(self, part: str) -> bool:
        """Whether what uses this part of the vendor has to wait; "" is all of it."""
        is_about_it = not self.attention_parts or not part or part in self.attention_parts
        return self.health == Health.ATTENTION and is_about_it

    def everything(self) -> dict[str, Any]:
        """Return settings and secrets together, as the connector's methods take them.

        Raises:
            Unreadable: the encryption key does not fit, or the secrets belong to another row.

        """
        return {**self.settings, **self.secrets()}


class Script(models.Model):
    """A file that browsers load by its hash: a version of what a website action runs, once it is published.

    It stays while an instruction that names it may still be followed, also after another version has replaced it.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="scripts")
    sha256 = models.CharField(max_length=64)  # of the text in UTF-8, in hexadecimal
    text = models.TextField()
    published_at = models.DateTimeField()
    published_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    replaced_at = models.DateTimeField(null=True)  # null: it is the version that is handed out now

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sha256", "connection"], name="script_once")]
        indexes = [
            models.Index(fields=["replaced_at"], name="script_replaced", condition=Q(replaced_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.sha256[:12]}…"


class CatalogueState(models.Model):
    """When a catalogue of a connection was last read, and what went wrong."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="catalogue_states")
    catalogue = models.CharField(max_length=40)
    refreshed_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "catalogue"], name="catalogue_state_once")]


class CatalogueEntry(models.Model):
    """A row of the vendor, e.g. an offer. One that has vanished stays, so that a saved choice can be shown as such."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="catalogue_entries")
    catalogue = models.CharField(max_length=40)
    key = models.CharField(max_length=200)
    label = models.CharField(max_length=300)
    data = models.JSONField(default=dict)
    position = models.PositiveIntegerField(default=0)
    vanished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "catalogue", "key"], name="catalogue_entry_once")]
        indexes = [
            models.Index(
                fields=["connection", "catalogue", "position"], name="catalogue_offered", condition=Q(vanished_at=None)
            )
        ]
        verbose_name_plural = "catalogue entries"

    def __str__(self) -> str:
        return self.label
