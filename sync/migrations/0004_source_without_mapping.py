from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('sync', '0003_source_rules_and_uploads'),
    ]

    operations = [
        migrations.RemoveField(model_name='source', name='mapping'),
    ]
