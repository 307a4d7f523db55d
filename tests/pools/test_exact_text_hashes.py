"""Hashes of an installation from before texts were compared exactly."""

import hashlib
import json
import unicodedata
from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from annotate.lib.text import text_hash
from annotate.pools import actions
from annotate.pools.models import Prompt
from annotate.pools.rules import PromptDraft, content_hash
from annotate.samples.models import Completion
from tests import factories as make

prompts = import_module("annotate.pools.migrations.0003_exact_text_hashes")
completions = import_module("annotate.samples.migrations.0002_exact_text_hashes")
TEXTS = [
    "What is 25?",
    "Two  lines\nof a café.",
    "  indented\n\n    code  ",
    "x²",
    "cafe\u0301",
    "One line that was the same before.",
]


def folded(text):
    """As texts were compared formerly."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def former_hash(text):
    return hashlib.sha256(folded(text).encode()).hexdigest()


def former_content_hash(messages):
    spoken = [[message["role"], folded(message["content"])] for message in messages]
    return hashlib.sha256(json.dumps(spoken, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def talk(text):
    return [{"role": "user", "content": text}]


def migrate(module):
    with connection.schema_editor(atomic=False) as editor:
        module.rehash(apps, editor)


@pytest.fixture
def stored(transactional_db):
    """Prompts and completions with their former hashes."""
    pool, policy = make.pool(), make.policy()
    rows = [make.prompt(pool, text, content_hash=former_content_hash(talk(text))) for text in TEXTS]
    for text in TEXTS:
        Completion.objects.filter(id=make.completion(rows[0], policy, text).id).update(text_hash=former_hash(text))
    return rows


@pytest.mark.parametrize("batch", [1, 4, 6, 2_000])
def test_every_stored_hash_becomes_what_is_computed_now(stored, monkeypatch, batch):
    for module in (prompts, completions):
        monkeypatch.setattr(module, "BATCH", batch)
        migrate(module)
    assert [row.content_hash for row in Prompt.objects.order_by("id")] == [content_hash(talk(text)) for text in TEXTS]
    assert [row.text_hash for row in Completion.objects.order_by("id")] == [text_hash(text) for text in TEXTS]
    assert list(Prompt.objects.order_by("id").values_list("group", flat=True)) == [row.group_id for row in stored]


def test_an_interrupted_migration_goes_on_and_a_second_one_changes_nothing(stored, monkeypatch):
    broken = iter([None, RuntimeError("the power went")])
    store = prompts._store

    def fails_once(*args):
        store(*args)
        if error := next(broken, None):
            raise error

    monkeypatch.setattr(prompts, "BATCH", 1)
    monkeypatch.setattr(prompts, "_store", fails_once)
    with pytest.raises(RuntimeError):
        migrate(prompts)
    assert Prompt.objects.filter(content_hash=former_content_hash(talk(TEXTS[-1]))).exists()
    # What was refused before the migration is refused in the middle of it.
    refuses_other_texts(stored[0])
    migrate(prompts)
    hashes = list(Prompt.objects.order_by("id").values_list("content_hash", flat=True))
    assert hashes == [content_hash(talk(text)) for text in TEXTS]
    monkeypatch.setattr(prompts, "_store", lambda *_args: pytest.fail("nothing is left to change"))
    migrate(prompts)
    refuses_other_texts(stored[0])


def refuses_other_texts(prompt):
    with pytest.raises(IntegrityError, match="never changes its group"), transaction.atomic():
        Prompt.objects.filter(id=prompt.id).update(content_hash="0" * 64)


def test_afterwards_an_equal_prompt_is_found_and_an_alike_one_is_another_of_the_same_group(transactional_db):
    here, elsewhere = make.pool(), make.pool()
    old = actions.add_prompt(pool=here, draft=PromptDraft(messages=talk("x2\nis?")), now=make.NOW)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE pools_prompt DISABLE TRIGGER prompt_group_stands")
        Prompt.objects.update(content_hash=former_content_hash(old.messages))
        cursor.execute("ALTER TABLE pools_prompt ENABLE TRIGGER prompt_group_stands")
    migrate(prompts)
    with pytest.raises(actions.DuplicatePrompt):
        actions.add_prompt(pool=here, draft=PromptDraft(messages=talk("x2\r\nis?\n")), now=make.NOW)
    for pool, text in ((elsewhere, "x2\nis?"), (here, "x²\nis?"), (elsewhere, " x2  is? ")):
        added = actions.add_prompt(pool=pool, draft=PromptDraft(messages=talk(text)), now=make.NOW)
        assert added.group == old.group


@given(
    st.text(st.sampled_from("a2² \t\n\r\u00a0\u1e9b\u0323\u0301\u00b4")),
    st.text(st.sampled_from("a2² \t\n\r\u00a0\u1e9b\u0323\u0301\u00b4")),
)
def test_no_two_rows_can_come_to_share_a_hash_not_even_half_way(one, other):
    """Two rows of a pool differ in their former hash. So the new hash of one is not the other's, new or former."""
    if folded(one) != folded(other):
        assert prompts.canonical(one) not in {prompts.canonical(other), folded(other)}


@given(st.text())
def test_the_migrations_compare_texts_as_the_platform_does(text):
    assert prompts.content_hash(talk(text)) == content_hash(talk(text))
    assert completions.text_hash(text) == text_hash(text)
