import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("prompts", "0003_event_indexes_by_time")]

    operations = [
        migrations.RemoveConstraint(model_name="execution", name="one_at_a_time_per_person"),
        migrations.RemoveConstraint(model_name="execution", name="forwarded_once"),
        migrations.AddField(model_name="execution", name="is_forward", field=models.BooleanField(default=False)),
        migrations.CreateModel(
            name="BindingDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("count", models.PositiveIntegerField(default=0)),
                (
                    "binding",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="days", to="prompts.binding"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="execution",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_forward", False), ("state", "running")),
                fields=("connection", "subscriber"),
                name="one_at_a_time_per_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="execution",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_forward", True)), fields=("event", "connection"), name="forwarded_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="bindingday",
            constraint=models.UniqueConstraint(fields=("binding", "day"), name="binding_day_once"),
        ),
    ]
