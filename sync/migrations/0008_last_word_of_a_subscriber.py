import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """A subject is an id at a vendor. Those that are kept so far say nothing of whose they are, so they are not kept."""

    dependencies = [
        ("connectors", "0003_breaker"),
        ("sync", "0007_webhooks_in_words"),
    ]

    operations = [
        migrations.DeleteModel(name="LastWord"),
        migrations.CreateModel(
            name="LastWord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(max_length=200)),
                ("as_of", models.DateTimeField()),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connectors.connection",
                    ),
                ),
                (
                    "subscriber",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="sync.subscriber"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "subject", "subscriber"), name="last_word_of_subscriber_once"
                    )
                ]
            },
        ),
    ]
