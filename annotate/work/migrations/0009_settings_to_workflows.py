from django.db import migrations, models
from django.db.models import Q

DROP_TARGET = "ALTER TABLE work_campaign DROP CONSTRAINT campaign_edits_have_a_target"
# Backwards the rows get their target only later, by the migration of the workflow's package.
ADD_TARGET = (
    "ALTER TABLE work_campaign ADD CONSTRAINT campaign_edits_have_a_target"
    " CHECK (workflow <> 'edits' OR target_pool_id IS NOT NULL) NOT VALID"
)


class Migration(migrations.Migration):
    """The settings that only one workflow has move to a table of its own package, in a migration of that package."""

    dependencies = [
        ("work", "0008_plain_labels"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="campaign", name="campaign_slate_4_to_9"),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(DROP_TARGET, ADD_TARGET)],
            state_operations=[migrations.RemoveConstraint(model_name="campaign", name="campaign_edits_have_a_target")],
        ),
        migrations.RemoveConstraint(model_name="campaign", name="campaign_workflow_known"),
        migrations.AlterField(
            model_name="campaign",
            name="workflow",
            field=models.CharField(max_length=32, verbose_name="workflow"),
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.CheckConstraint(condition=~Q(workflow=""), name="campaign_has_a_workflow"),
        ),
        migrations.RemoveField(model_name="campaign", name="policies"),
        migrations.RemoveField(model_name="campaign", name="rewrite_pool"),
        migrations.RemoveField(model_name="campaign", name="slate_max"),
        migrations.RemoveField(model_name="campaign", name="slate_min"),
        migrations.RemoveField(model_name="campaign", name="target_pool"),
    ]
