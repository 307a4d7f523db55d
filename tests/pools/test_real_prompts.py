"""The published Self-Instruct files, read as they are."""

from collections import Counter

import pytest
from django.core.management import call_command

from annotate.pools.models import ImportJob, Kind, Pool, Prompt, PromptGroup, Source
from tests.shared import SHARED, needs_shared

DATA = SHARED / "data" / "self_instruct"

pytestmark = [needs_shared, pytest.mark.django_db]


def test_all_252_user_oriented_tasks_are_customers_prompts():
    call_command("import_prompts", "users", str(DATA / "user_oriented_instructions.jsonl"), "--create")
    prompts = Prompt.objects.select_related("group")
    assert prompts.count() == 252
    assert {(prompt.source, prompt.kind) for prompt in prompts} == {(Source.CUSTOMER, Kind.PLAIN)}
    first = prompts.get(external_id="user_oriented_task_0")
    assert first.source_user == "Grammarly"
    assert first.text.startswith("The sentence you are given might be too wordy")
    assert first.text.endswith("necessary to increase or decrease the scope for this project, please let me know.")
    # All tasks of an application stand on one side.
    sides = {}
    for prompt in prompts:
        sides.setdefault(prompt.source_user.casefold(), set()).add(prompt.group.split)
    assert all(len(side) == 1 for side in sides.values())
    assert PromptGroup.objects.count() == len(sides)
    assert ImportJob.objects.get().ignored_fields == []


def test_all_175_seed_tasks_are_labelers_prompts():
    call_command(
        "import_prompts",
        "seeds",
        str(DATA / "seed_tasks.jsonl"),
        "--create",
        "--licence",
        "Apache-2.0",
        "--ignore",
        "name",
    )
    job = ImportJob.objects.get()
    assert (job.taken, job.refused) == (175, 0)
    assert job.ignored_fields == ["is_classification", "name"]
    assert Counter(Prompt.objects.values_list("source", "licence")) == {("labeler", "Apache-2.0"): 175}
    assert Prompt.objects.get(external_id="seed_task_1").text == (
        "What is the relation between the given pairs?\n\nNight : Day :: Right : Left"
    )


def test_a_file_read_twice_into_two_pools_keeps_its_sides():
    for pool in ("one", "two"):
        call_command("import_prompts", pool, str(DATA / "seed_tasks.jsonl"), "--create", "--ignore", "name")
    groups = [Pool.objects.get(name=name).prompts.order_by("id").values_list("group") for name in ("one", "two")]
    assert list(groups[0]) == list(groups[1])
