"""The history: who changed what, when and from where. Rows are only ever added."""

from django.conf import settings
from django.db import models


class Entry(models.Model):
    """One change. `changes` maps a field to [old, new]; a secret is only ever "replaced"."""

    company = models.ForeignKey("tenancy.Company", on_delete=models.CASCADE, related_name="+")
    app = models.ForeignKey("tenancy.App", null=True, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor = models.CharField(max_length=254)  # the person's e-mail address, or the command that did it
    ip = models.GenericIPAddressField(null=True)
    verb = models.CharField(max_length=40)  # "created", "changed", "removed", "signed in", ...
    kind = models.CharField(max_length=40)  # model name of the thing: "connection", "prompt", ...
    object_id = models.CharField(max_length=64)
    label = models.CharField(max_length=200)
    changes = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["app", "-id"], name="audit_app"),
            models.Index(fields=["kind", "object_id", "-id"], name="audit_object"),
            # By these the log is filtered and searched. An App's entries have its company as well, so that one index serves both.
            models.Index(fields=["company", "app", "actor"], name="audit_actor"),
            models.Index(fields=["company", "app", "verb"], name="audit_verb"),
            models.Index(fields=["company", "app", "kind"], name="audit_kind"),
            models.Index(fields=["company", "app", "at"], name="audit_at"),
            # PostgreSQL finds how a text begins by this class of operators only.
            models.Index(
                fields=["company", "app", "label"],
                name="audit_label",
                opclasses=["int8_ops", "int8_ops", "varchar_pattern_ops"],
            ),
        ]
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log entries"

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.kind} {self.label}"
