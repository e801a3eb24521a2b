from django.conf import settings
from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def name_buckets(apps, schema_editor):
    source = apps.get_model("sync", "Source").objects.filter(pk=OuterRef("source_id")).values("bucket")
    apps.get_model("sync", "ImportRun").objects.exclude(source=None).update(bucket=Subquery(source))


def begin_anew(apps, schema_editor):
    # What waits between reading and merging is kept elsewhere now, and the cursor counts ids instead of lines. What was merged of
    # an import under way is found unchanged when its file is read again.
    apps.get_model("sync", "ImportRun").objects.filter(state__in=["running", "stopped"]).update(
        merged_through=0, rows_new=0, rows_changed=0, rows_unchanged=0, rows_superseded=0, staged=False
    )


class Migration(migrations.Migration):

    dependencies = [
        ("sync", "0005_inbound"),
        ("tenancy", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField("subscriber", "import_digest", models.BigIntegerField(editable=False, null=True)),
        migrations.AlterField(
            "subscriber",
            "app",
            models.ForeignKey(db_index=False, on_delete=models.CASCADE, related_name="subscribers", to="tenancy.app"),
        ),
        migrations.AlterField(
            "subscriber",
            "test_added_by",
            models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=models.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            "subscriber",
            models.Index(
                condition=models.Q(("test_added_by__isnull", False)), fields=["test_added_by"], name="subscriber_test_by"
            ),
        ),
        migrations.AddField("source", "lease_holder", models.UUIDField(editable=False, null=True)),
        migrations.AddField("importrun", "bucket", models.CharField(default="", max_length=63), preserve_default=False),
        migrations.AddField("importrun", "content_digest", models.CharField(blank=True, max_length=64)),
        migrations.AddField("importrun", "rules_digest", models.CharField(blank=True, max_length=32)),
        migrations.RunPython(name_buckets, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(begin_anew, migrations.RunPython.noop, elidable=True),
        migrations.RemoveConstraint("importrun", "object_once_per_source"),
        migrations.AddConstraint(
            "importrun",
            models.UniqueConstraint(
                fields=("source", "bucket", "object_key", "etag", "size"), name="object_once_per_source"
            ),
        ),
        migrations.RemoveField("importrun", "last_line"),
        migrations.AlterField(
            "importrun",
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
        migrations.DeleteModel("StagedRow"),
    ]
