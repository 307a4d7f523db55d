from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from annotate.lib.languages import BadLanguage, canonical


def rewrite(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The languages of slots, campaigns and seats in the form that their prompts' tags are stored in."""
    slots = apps.get_model("work", "Assignment").objects
    for tag in list(slots.order_by().values_list("language", flat=True).distinct()):
        if written(tag) != tag:
            slots.filter(language=tag).update(language=written(tag))
    for name in ("Campaign", "Seat"):
        for row in apps.get_model("work", name).objects.exclude(languages=[]).only("id", "languages").iterator():
            tags = sorted({written(tag) for tag in row.languages})
            if tags != sorted(row.languages):
                row.languages = tags
                row.save(update_fields=["languages"])


def written(tag: str) -> str:
    try:
        return canonical(tag) if len(canonical(tag)) <= 16 else tag
    except BadLanguage:
        return tag


class Migration(migrations.Migration):
    dependencies = [("work", "0004_hold_quarantined")]
    operations = [migrations.RunPython(rewrite, migrations.RunPython.noop)]
