"""Compute the hash of every stored completion by the exact equality of texts.

As for prompts (pools, 0003_exact_text_hashes): the new hash distinguishes more than the former one, so no two imported
completions come to share one. Each batch is a transaction of its own, and a second run changes nothing, so the
migration can be interrupted and started again.

The functions are copies: a migration must go on doing what it did when it was written.
"""

import hashlib
import unicodedata

from django.db import migrations, transaction

BATCH = 2_000
# Rows in memory at a time: a completion may have 200,000 characters.
CHUNK = 100

UPDATE = """
UPDATE samples_completion SET text_hash = fresh.text_hash
FROM unnest(%s::bigint[], %s::text[]) AS fresh (id, text_hash) WHERE samples_completion.id = fresh.id
"""


def canonical(text):
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first, end = 0, len(lines)
    while first < end and not lines[first].strip():
        first += 1
    while first < end and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[first:end])


def text_hash(text):
    return hashlib.sha256(canonical(text).encode()).hexdigest()


def rehash(apps, schema_editor):
    connection = schema_editor.connection
    completions = apps.get_model("samples", "Completion").objects.using(connection.alias).order_by("id")
    last, more = 0, True
    while more:
        with transaction.atomic(using=connection.alias):
            rows = completions.filter(id__gt=last).values_list("id", "text", "text_hash")[:BATCH].iterator(CHUNK)
            changed, more = {}, False
            for row_id, text, stored in rows:
                last, more = row_id, True
                fresh = text_hash(text)
                if fresh != stored:
                    changed[row_id] = fresh
            if changed:
                with connection.cursor() as cursor:
                    cursor.execute(UPDATE, [list(changed), list(changed.values())])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("samples", "0001_tables")]
    # Backwards nothing is done: the former hashes could not tell apart what is stored since.
    operations = [migrations.RunPython(rehash, migrations.RunPython.noop, elidable=True)]
