from django.db import migrations, models


def mark_failed(apps, schema_editor):
    """Runs that ended without a completion said that they were done."""
    runs = apps.get_model("samples", "SampleRun").objects.filter(state="done")
    requests = apps.get_model("samples", "SampleRequest").objects.filter(run=models.OuterRef("id"), state="failed")
    completions = apps.get_model("samples", "Completion").objects.filter(run=models.OuterRef("id"))
    runs.filter(models.Exists(requests), ~models.Exists(completions)).update(state="failed")


class Migration(migrations.Migration):
    dependencies = [("samples", "0002_exact_text_hashes")]

    operations = [
        migrations.AlterField(
            model_name="samplerun",
            name="state",
            field=models.CharField(
                choices=[("running", "Running"), ("done", "Done"), ("failed", "Failed"), ("cancelled", "Cancelled")],
                default="running",
                max_length=16,
            ),
        ),
        migrations.RunPython(mark_failed, migrations.RunPython.noop),
    ]
