from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from annotate.lib.languages import BadLanguage, canonical


def rewrite(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """People's languages in the one form in which tags are stored; what is not a tag stays as it is."""
    for user in apps.get_model("accounts", "User").objects.exclude(languages=[]).iterator():
        tags = list(dict.fromkeys(written(tag) for tag in user.languages))
        if tags != user.languages:
            user.languages = tags
            user.save(update_fields=["languages"])


def written(tag: str) -> str:
    try:
        return canonical(tag)
    except BadLanguage:
        return tag


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_hash_the_plain_tokens")]
    operations = [migrations.RunPython(rewrite, migrations.RunPython.noop)]
