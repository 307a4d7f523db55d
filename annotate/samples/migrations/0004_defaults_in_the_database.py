from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("samples", "0003_failed_runs"),
    ]

    operations = [
        migrations.AlterField(
            model_name="samplerequest",
            name="attempts",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="samplerequest",
            name="error",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AlterField(
            model_name="samplerequest",
            name="extra",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="samplerequest",
            name="state",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("leased", "Being sampled"),
                    ("done", "Done"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
                db_default="waiting",
                default="waiting",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="samplerequest",
            name="worker",
            field=models.CharField(blank=True, db_default="", default="", max_length=100),
        ),
    ]
