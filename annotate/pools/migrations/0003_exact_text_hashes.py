"""Compute the content hash of every stored prompt by the exact equality of texts.

The former hash saw through white space and compatibility characters (NFKC). The new one distinguishes more, so no two
rows of a pool come to share a hash: rows with one canonical text had one former hash, which the constraint excluded.
For the same reason a row that is done never meets one that is not. Each batch is a transaction of its own, and a second
run changes nothing, so the migration can be interrupted and started again.

The functions are copies: a migration must go on doing what it did when it was written.
"""

import hashlib
import json
import unicodedata

from django.db import migrations, transaction

BATCH = 2_000
# Rows in memory at a time: a prompt may have 200,000 characters.
CHUNK = 100

UPDATE = """
UPDATE pools_prompt SET content_hash = fresh.content_hash
FROM unnest(%s::bigint[], %s::text[]) AS fresh (id, content_hash) WHERE pools_prompt.id = fresh.id
"""


def canonical(text):
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first, end = 0, len(lines)
    while first < end and not lines[first].strip():
        first += 1
    while first < end and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[first:end])


def content_hash(messages):
    spoken = [[message["role"], canonical(message["content"])] for message in messages]
    return hashlib.sha256(json.dumps(spoken, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def rehash(apps, schema_editor):
    database = schema_editor.connection.alias
    prompts = apps.get_model("pools", "Prompt").objects.using(database).only("messages", "content_hash").order_by("id")
    last, more = 0, True
    while more:
        with transaction.atomic(using=database):
            rows, changed, more = prompts.filter(id__gt=last)[:BATCH].iterator(CHUNK), {}, False
            for row in rows:
                last, more = row.id, True
                fresh = content_hash(row.messages)
                if fresh != row.content_hash:
                    changed[row.id] = fresh
            if changed:
                _store(schema_editor.connection, changed)


def _store(connection, changed):
    with connection.cursor() as cursor:
        # The trigger takes a new hash for a new text. It is back before anybody else can see this transaction.
        cursor.execute("ALTER TABLE pools_prompt DISABLE TRIGGER prompt_group_stands")
        cursor.execute(UPDATE, [list(changed), list(changed.values())])
        cursor.execute("ALTER TABLE pools_prompt ENABLE TRIGGER prompt_group_stands")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("pools", "0002_splits_stand")]
    # Backwards nothing is done: the former hashes could not tell apart what is stored since.
    operations = [migrations.RunPython(rehash, migrations.RunPython.noop, elidable=True)]
