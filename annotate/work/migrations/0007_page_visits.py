from django.db import migrations, models

# Django would drop the constraint and check every row again.
RENAME = "ALTER TABLE work_pagevisit RENAME CONSTRAINT {} TO {}"
OLD, NEW = "sitting_counts_some", "visit_counts_some"


class Migration(migrations.Migration):
    dependencies = [("work", "0006_defaults_in_the_database")]
    operations = [
        migrations.RenameModel("Sitting", "PageVisit"),
        migrations.RenameIndex("PageVisit", new_name="visit_of_task", old_name="sitting_of_task"),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(RENAME.format(OLD, NEW), RENAME.format(NEW, OLD))],
            state_operations=[
                migrations.RemoveConstraint("PageVisit", OLD),
                migrations.AddConstraint(
                    "PageVisit",
                    models.CheckConstraint(
                        condition=models.Q(seconds__gte=0, reported__gte=models.F("seconds")), name=NEW
                    ),
                ),
            ],
        ),
        migrations.AlterField(
            "PageVisit",
            "task",
            models.ForeignKey(on_delete=models.PROTECT, related_name="page_visits", to="work.task"),
        ),
        migrations.AlterField(
            "PageVisit",
            "labeler",
            models.ForeignKey(on_delete=models.PROTECT, related_name="page_visits", to="accounts.user"),
        ),
    ]
