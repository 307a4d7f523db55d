import django.db.models.deletion
from django.db import migrations, models

MOVE = """
INSERT INTO edits_instructionsettings (campaign_id, target_pool_id, rewrite_pool)
SELECT id, target_pool_id, rewrite_pool FROM work_campaign WHERE workflow = 'edits';
"""
MOVE_BACK = """
UPDATE work_campaign campaign SET target_pool_id = settings.target_pool_id, rewrite_pool = settings.rewrite_pool
FROM edits_instructionsettings settings WHERE settings.campaign_id = campaign.id;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("edits", "0004_settle_instructions"),
        ("pools", "0001_tables"),
        ("work", "0006_defaults_in_the_database"),
    ]
    # The campaign loses these columns in that migration.
    run_before = [("work", "0009_settings_to_workflows")]

    operations = [
        migrations.CreateModel(
            name="InstructionSettings",
            fields=[
                (
                    "campaign",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="%(class)s",
                        serialize=False,
                        to="work.campaign",
                    ),
                ),
                ("rewrite_pool", models.BooleanField(default=True, verbose_name="rewrite the pool's prompts")),
                (
                    "target_pool",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="pools.pool",
                        verbose_name="pool for accepted instructions",
                    ),
                ),
            ],
            options={"abstract": False},
        ),
        migrations.RunSQL(MOVE, MOVE_BACK),
    ]
