from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from annotate.lib.languages import BadLanguage, canonical


def rewrite(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Prompts' languages in the one form in which tags are stored: pt-BR where it was pt-br."""
    prompts = apps.get_model("pools", "Prompt").objects
    for tag in list(prompts.order_by().values_list("language", flat=True).distinct()):
        try:
            written = canonical(tag)
        except BadLanguage:
            continue
        if written != tag and len(written) <= 16:
            prompts.filter(language=tag).update(language=written)


class Migration(migrations.Migration):
    dependencies = [("pools", "0005_fill_example_texts")]
    operations = [migrations.RunPython(rewrite, migrations.RunPython.noop)]
