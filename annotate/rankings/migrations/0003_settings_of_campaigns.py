import django.core.validators
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

SIZES = [django.core.validators.MinValueValidator(4), django.core.validators.MaxValueValidator(9)]

MOVE = """
INSERT INTO rankings_rankingsettings (campaign_id, slate_min, slate_max)
SELECT id, slate_min, slate_max FROM work_campaign WHERE workflow = 'rankings';
INSERT INTO rankings_rankingsettings_policies (rankingsettings_id, policy_id)
SELECT named.campaign_id, named.policy_id FROM work_campaign_policies named
JOIN work_campaign campaign ON campaign.id = named.campaign_id WHERE campaign.workflow = 'rankings';
"""
MOVE_BACK = """
UPDATE work_campaign campaign SET slate_min = settings.slate_min, slate_max = settings.slate_max
FROM rankings_rankingsettings settings WHERE settings.campaign_id = campaign.id;
INSERT INTO work_campaign_policies (campaign_id, policy_id)
SELECT rankingsettings_id, policy_id FROM rankings_rankingsettings_policies;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("rankings", "0002_judge_by_exact_texts"),
        ("samples", "0001_tables"),
        ("work", "0006_defaults_in_the_database"),
    ]
    # The campaign loses these columns in that migration.
    run_before = [("work", "0009_settings_to_workflows")]

    operations = [
        migrations.CreateModel(
            name="RankingSettings",
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
                (
                    "slate_min",
                    models.PositiveSmallIntegerField(default=4, validators=SIZES, verbose_name="fewest candidates"),
                ),
                (
                    "slate_max",
                    models.PositiveSmallIntegerField(default=9, validators=SIZES, verbose_name="most candidates"),
                ),
                (
                    "policies",
                    models.ManyToManyField(blank=True, related_name="+", to="samples.policy", verbose_name="policies"),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(slate_min__gte=4, slate_max__lte=9, slate_min__lte=F("slate_max")),
                        name="rankingsettings_slate_4_to_9",
                    )
                ]
            },
        ),
        migrations.RunSQL(MOVE, MOVE_BACK),
    ]
