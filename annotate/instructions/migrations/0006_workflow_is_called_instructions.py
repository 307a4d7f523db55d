from django.db import migrations

RENAME = "UPDATE work_campaign SET workflow = '{}' WHERE workflow = '{}'"


class Migration(migrations.Migration):
    dependencies = [
        ("edits", "0005_settings_of_campaigns"),
        ("work", "0009_settings_to_workflows"),
    ]

    operations = [
        migrations.RunSQL(RENAME.format("instructions", "edits"), RENAME.format("edits", "instructions")),
    ]
