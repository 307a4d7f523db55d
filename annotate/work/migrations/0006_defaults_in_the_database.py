from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("work", "0005_canonical_languages"),
    ]

    operations = [
        migrations.AlterField(
            model_name="assignment",
            name="comment",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="the reviewer's words, with an acceptance or a sending back",
            ),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="hand",
            field=models.PositiveSmallIntegerField(choices=[(0, "Work"), (1, "Ahead")], db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="language",
            field=models.CharField(db_default="", default="", max_length=16),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="needs_review",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="rounds",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="state",
            field=models.CharField(
                choices=[
                    ("open", "Open"),
                    ("leased", "In work"),
                    ("submitted", "Submitted"),
                    ("accepted", "Accepted"),
                    ("sent_back", "Sent back"),
                    ("cancelled", "Cancelled"),
                    ("stopped", "Stopped"),
                ],
                db_default="open",
                default="open",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="detail",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AlterField(
            model_name="task",
            name="excused",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
    ]
