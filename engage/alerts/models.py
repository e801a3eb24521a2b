"""What is wrong at the moment or was lately, and what an App's administrators want to hear of."""

from django.db import models
from django.db.models import Q

from engage.tenancy.models import App, User
from engage.tenancy.people import people_of
from engage.tenancy.roles import Right


class Kind(models.TextChoices):
    """What can be wrong."""

    ATTENTION = "attention", "A connection needs attention"
    PAUSED = "paused", "A connection is paused"
    UNCERTAIN = "uncertain", "Answers were lost"
    GAVE_UP = "gave_up", "Actions gave up"
    HELD = "held", "Actions wait for a person"
    OVERDUE = "overdue", "Work is overdue"


class AlertRules(models.Model):
    """What an App's administrators are written about, and who of them. Without a row the defaults hold."""

    app = models.OneToOneField(App, on_delete=models.CASCADE, related_name="alert_rules")
    attention = models.BooleanField(default=True)
    paused = models.BooleanField(default=True)
    overdue = models.BooleanField(default=True)
    # How many it takes; 0 is never.
    uncertain = models.PositiveIntegerField(default=1)
    held = models.PositiveIntegerField(default=1)
    gave_up = models.PositiveIntegerField(default=5)
    # Those who do not want to hear, so that a new administrator does.
    silent = models.ManyToManyField(User, related_name="+", blank=True)
    mailed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "rules of alerts"
        verbose_name_plural = "rules of alerts"

    def __str__(self) -> str:
        return "Alerts"

    @classmethod
    def of(cls, app: App) -> "AlertRules":
        """Return an App's rules; the defaults, not saved, where nobody has changed any."""
        return cls.objects.filter(app=app).first() or cls(app=app)

    def administrators(self) -> list[User]:
        """Return who could hear of this App: its active administrators, by address."""
        rows = people_of(self.app).filter(role__in=Right.MANAGE_APP.roles, user__is_active=True)
        return sorted({row.user for row in rows}, key=lambda user: user.email)

    def recipients(self) -> list[User]:
        """Return who hears of it."""
        silent = set(self.silent.values_list("pk", flat=True)) if self.pk else set()
        return [user for user in self.administrators() if user.pk not in silent]


class Alert(models.Model):
    """One thing that is wrong, from when it was seen until it has been well for a while."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="alerts", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    subject = models.CharField(max_length=64, blank=True)  # the connection's id, where it is about one
    text = models.CharField(max_length=200)
    opened_at = models.DateTimeField()
    well_since = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    # What was told by e-mail, or needs no telling.
    told_at = models.DateTimeField(null=True)
    told_over_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["app", "kind", "subject"], condition=Q(closed_at=None), name="alert_open_once"
            )
        ]
        indexes = [models.Index(fields=["app", "-opened_at"], name="alert_lately")]

    def __str__(self) -> str:
        return self.text
