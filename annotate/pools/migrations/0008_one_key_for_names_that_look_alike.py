"""Give the groups of customers and labelers the keys under which today's code looks them up.

Invisible characters in a name no longer make another key. Where one customer has several groups for that reason, the
oldest gets the key and the others keep theirs: a split never changes. `manage.py audit_splits --quarantine` then deals
with the prompts on the wrong side. A second run changes nothing.
"""

from django.db import migrations

from annotate.pools.split_rules import name_key

KINDS = ("customer", "labeler", "imported")


def rename(apps, schema_editor):
    PromptGroup = apps.get_model("pools", "PromptGroup")
    for kind in KINDS:
        named = PromptGroup.objects.filter(key__startswith=f"{kind}:").order_by("id")
        for group in named.iterator(1000):
            name = name_key(group.key.removeprefix(f"{kind}:"))
            key = f"{kind}:{name}"
            if name and key != group.key and not PromptGroup.objects.filter(key=key).exists():
                PromptGroup.objects.filter(id=group.id).update(key=key)


class Migration(migrations.Migration):
    dependencies = [("pools", "0007_ask_before_dropping_fields")]
    operations = [migrations.RunPython(rename, migrations.RunPython.noop)]
