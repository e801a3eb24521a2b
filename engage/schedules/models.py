"""A slot is one moment at which a schedule wanted something done. It is a row, so that it happens once."""

from django.db import models


class Slot(models.Model):
    """One slot of one job. Unique, so that two beats, a crash or downtime run it once."""

    job = models.CharField(max_length=120)  # e.g. "source:6f1c..." or "catalogues"
    start = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "start"], name="slot_once")]
        indexes = [models.Index(fields=["start"], name="slot_open", condition=models.Q(completed_at=None))]
