"""Forget which prompts had completions that were too much alike.

They were judged by a measure that saw no superscript and no indentation. The next filling of their campaigns judges
them again, and opens the slates that are possible now.
"""

from django.db import migrations


def forget(apps, schema_editor):
    slates = apps.get_model("rankings", "Slate").objects.using(schema_editor.connection.alias)
    slates.filter(version=None).delete()


class Migration(migrations.Migration):
    dependencies = [("rankings", "0001_tables"), ("samples", "0002_exact_text_hashes")]
    operations = [migrations.RunPython(forget, migrations.RunPython.noop, elidable=True)]
