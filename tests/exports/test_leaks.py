"""An export that finds something on both sides lists it, and goes through once a manager has put it away."""

import pytest
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.instructions.actions import accept
from annotate.instructions.models import Brief, Instruction
from annotate.pools import actions as pools
from annotate.pools.models import ExampleText, Kind, Prompt, PromptGroup, QuarantineReason, Source, Split
from annotate.pools.rules import PromptDraft
from annotate.work.states import State
from exports import leases
from exports.models import Export, ExportState
from exports.queries import LeftOut, left_out
from tests import factories as make
from tests.exports import answers
from tests.exports.test_pages import manager, storage
from tests.pools.test_quarantine import EXAMPLE, SHOTS
from tests.studio.conftest import client_of, words
from tests.work.test_quarantine import away

__all__ = ["manager", "storage"]

NOW = make.NOW


def finished(row):
    leases.run(export_id=row.id, clock=lambda: NOW)
    row.refresh_from_db()
    return row


@pytest.fixture
def ask(day, storage):
    """ask(): a new export of the day's campaigns, run to its end."""

    def export():
        row = Export.objects.create(created_by=make.user(Role.MANAGER), created_at=NOW)
        row.campaigns.set(day.campaigns)
        return finished(row)

    return export


@pytest.fixture
def blocked(day, ask):
    """An export of an old database: an accepted few-shot instruction has an example that equals a customer's prompt."""
    customers = day.prompt(EXAMPLE, Split.VALID, Source.CUSTOMER, source_user="Acme")
    answers.demonstration(day.demonstrations, customers, day.labeler)
    made = day.prompt("What is shown.", Split.TRAIN, shots=SHOTS, kind=Kind.FEW_SHOT)
    answers.few_shot(day.instructions, day.labeler, made)
    return ask(), customers, made


@pytest.mark.django_db(transaction=True)
def test_a_blocked_export_is_unblocked_from_its_own_page(manager, blocked, ask):
    row, customers, made = blocked
    assert row.state == ExportState.FAILED
    assert row.leaks == [{"prompt": made.id, "twin": customers.id, "reason": QuarantineReason.EQUAL_EXAMPLE}]
    page = words(manager.get(reverse("exports:export", args=[row.id])))
    assert 'data-fact="leaks"' in page
    address = reverse("exports:quarantine", args=[row.id])
    assert f'action="{address}"' in page
    for prompt in (customers, made):
        assert reverse("studio:prompt", args=[prompt.id]) in page
    page = words(manager.post(address, {"prompt": made.id}, follow=True))
    assert "1 prompt is in quarantine. Export the campaigns again." in page
    assert reverse("studio:quarantine", args=[made.pool_id]) in page
    again = ask()
    assert (again.state, again.leaks) == (ExportState.DONE, [])
    assert again.manifest["left_out"]["quarantined"] == 1
    assert again.manifest["prompts"]["valid"]["sft_customer"] == 1
    assert again.manifest["prompts"]["train"]["sft_labeler"] == 0


@pytest.mark.django_db(transaction=True)
def test_all_that_is_listed_goes_at_once_and_a_second_time_nothing_does(manager, day, ask):
    for number in range(3):
        for split in Split:
            prompt = make.prompt(make.pool(), f"Same {number}.", in_group=make.group(split=split))
            answers.demonstration(day.demonstrations, prompt, day.labeler)
    row = ask()
    assert len(row.leaks) == 3
    address = reverse("exports:quarantine", args=[row.id])
    assert "3 prompts are in quarantine." in words(manager.post(address, follow=True))
    assert "are in quarantine already" in words(manager.post(address, follow=True))
    assert ask().state == ExportState.DONE


@pytest.mark.django_db(transaction=True)
def test_only_managers_put_what_an_export_found_away(blocked):
    row = blocked[0]
    for role in (Role.LABELER, Role.REVIEWER):
        response = client_of(make.user(role)).post(reverse("exports:quarantine", args=[row.id]))
        assert response.status_code == 403
    assert not Prompt.objects.exclude(quarantined_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_a_customer_on_both_sides_is_named_by_prompts_and_not_by_name(manager, day, ask):
    for split in Split:
        day.prompt(f"For {split}.", split, Source.CUSTOMER, source_user="Acme & Sons")
    row = ask()
    assert [leak["reason"] for leak in row.leaks] == [QuarantineReason.OTHER_SIDE]
    assert "1 customers or writers" in row.error
    assert "Acme" not in row.error
    manager.post(reverse("exports:quarantine", args=[row.id]))
    assert ask().state == ExportState.DONE


def customer(name, split):
    PromptGroup.objects.create(key=f"customer:{name}", split=split, created_at=NOW)
    return {"source": Source.CUSTOMER, "source_user": name}


@pytest.mark.django_db
def test_an_accepted_instruction_whose_example_is_on_the_other_side_is_a_prompt_in_quarantine(day, export):
    """The labeler's answer is accepted as it is. The prompt that comes of it waits for a manager."""
    draft = PromptDraft(messages=[{"role": "user", "content": EXAMPLE}], **customer("acme", Split.VALID))
    equal = pools.add_prompt(pool=make.pool(), draft=draft, now=NOW)
    PromptGroup.objects.create(key=f"author:{day.labeler.id}", split=Split.TRAIN, created_at=NOW)
    answer = answers.assignment(day.instructions, None, day.labeler, State.SUBMITTED)
    Instruction.objects.create(
        assignment=answer, kind=Kind.FEW_SHOT, text=SHOTS["instruction"], pairs=SHOTS["pairs"], written_at=NOW
    )
    Brief.objects.create(task=answer.task, kind=Kind.FEW_SHOT)
    accept(assignment_id=answer.id, reviewer=make.user(Role.REVIEWER), comment="", now=NOW)
    instruction = Instruction.objects.get()
    assert (instruction.assignment.state, instruction.refusal) == (State.ACCEPTED, "")
    assert (instruction.prompt.quarantine_reason, instruction.prompt.quarantine_twin) == ("equal_example", equal)
    assert ExampleText.objects.filter(prompt=instruction.prompt).count() == 1
    assert export().manifest["left_out"]["quarantined"] == 1
    assert left_out([day.instructions])[LeftOut.QUARANTINED] == 1
    reviewed = words(client_of(make.user(Role.MANAGER)).get(reverse("studio:review-answer", args=[answer.id])))
    assert "A manager decides whether it is used." in reviewed


@pytest.mark.django_db
def test_nothing_of_a_prompt_in_quarantine_leaves(day, export):
    prompt = day.prompt("Unwanted.", Split.TRAIN, Source.CUSTOMER)
    answers.demonstration(day.demonstrations, prompt, day.labeler)
    answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 2, 3, 4])
    away(prompt)
    written = export()
    assert [file["name"] for file in written.manifest["files"]] == []
    assert written.manifest["left_out"]["quarantined"] == 2
    assert written.manifest["left_out"]["ppo_quarantined"] == 1
    assert not any(b"Unwanted" in content for content in written.bytes.values())
