from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("work", "0007_page_visits"),
    ]

    operations = [
        migrations.AlterField(
            model_name="assignment",
            name="comment",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="the reviewer's comment on the answer"
            ),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="hand",
            field=models.PositiveSmallIntegerField(choices=[(0, "Active"), (1, "Prefetched")], db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="state",
            field=models.CharField(
                choices=[
                    ("open", "Open"),
                    ("leased", "In progress"),
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
            name="move",
            field=models.CharField(
                choices=[
                    ("claim", "claimed"),
                    ("release", "released"),
                    ("skip", "skipped"),
                    ("expire", "lease expired"),
                    ("submit", "submitted"),
                    ("accept", "accepted"),
                    ("send_back", "sent back"),
                    ("resume", "resumed"),
                    ("set_aside", "set aside"),
                    ("give_up", "given up"),
                    ("replace", "replaced"),
                    ("cancel", "cancelled"),
                    ("stop", "stopped"),
                    ("restart", "restarted by a manager"),
                    ("take_back", "acceptance withdrawn"),
                    ("undo", "submit undone"),
                ],
                max_length=16,
            ),
        ),
    ]
