"""Give few-shot prompts their example texts, and every customer and writer a group of their own.

The rules are today's: the hashes must equal those that today's code looks up. A customer whose prompts all joined the
groups of equal prompts has no group yet. It gets one on the side of the oldest of these prompts, so that their next
prompt is not drawn to the other side. `manage.py audit_splits --quarantine` then deals with prompts that are on the wrong side.
"""

from itertools import islice

from django.db import migrations
from django.utils import timezone

from annotate.pools.rules import content_hash, example_hashes
from annotate.pools.split_rules import owner_key

BATCH = 1000


def fill_example_texts(apps, schema_editor):
    Prompt, ExampleText = apps.get_model("pools", "Prompt"), apps.get_model("pools", "ExampleText")
    few_shot = Prompt.objects.exclude(shots=None).order_by("id").values_list("id", "messages", "shots")
    rows = (
        ExampleText(prompt_id=prompt_id, content_hash=text)
        for prompt_id, messages, shots in few_shot.iterator(BATCH)
        for text in sorted(example_hashes(shots) - {content_hash(messages)})
    )
    while batch := list(islice(rows, BATCH)):
        ExampleText.objects.bulk_create(batch)


def make_missing_groups(apps, schema_editor):
    Prompt, PromptGroup = apps.get_model("pools", "Prompt"), apps.get_model("pools", "PromptGroup")
    owner = ("source", "source_user", "author_id")
    oldest = Prompt.objects.filter(parent=None).exclude(source_user="", author=None)
    oldest = oldest.order_by(*owner, "id").distinct(*owner)
    found = {}
    for prompt_id, split, source, source_user, author_id in oldest.values_list("id", "group__split", *owner).iterator(
        BATCH
    ):
        key = owner_key(source=source, source_user=source_user, author_id=author_id)
        if key:
            found[key] = min(found.get(key, (prompt_id, split)), (prompt_id, split))
    keys = iter(sorted(found))
    while batch := list(islice(keys, BATCH)):
        there = set(PromptGroup.objects.filter(key__in=batch).values_list("key", flat=True))
        PromptGroup.objects.bulk_create(
            PromptGroup(key=key, split=found[key][1], created_at=timezone.now()) for key in batch if key not in there
        )


class Migration(migrations.Migration):
    dependencies = [("pools", "0004_quarantine")]
    operations = [
        migrations.RunPython(fill_example_texts, migrations.RunPython.noop),
        migrations.RunPython(make_missing_groups, migrations.RunPython.noop),
    ]
