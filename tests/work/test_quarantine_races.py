"""Decisions about quarantine under real threads: nobody waits in a circle with what else is under way."""

import threading
import time
from uuid import uuid4

import pytest
from django.db import connection

from annotate.instructions import actions as instructions
from annotate.instructions.rules import Text
from annotate.pools import actions as pools
from annotate.pools.models import ExampleText, Prompt, QuarantineReason, Source, Split
from annotate.pools.quarantine import Case
from annotate.rankings import slate_supply
from annotate.samples.models import SampleRequest
from annotate.samples.states import RequestState
from annotate.work import filling, leases, refusals, submitting
from annotate.work import quarantine as decisions
from annotate.work.models import Assignment, Draft
from annotate.work.quarantine import quarantine, release
from annotate.work.states import State
from annotate.workflows.actions import readmit
from annotate.workflows.tasks import fill_campaigns
from tests import factories as make
from tests.pools.test_add_prompt import customer_of, draft
from tests.rankings.test_supply import another, mixed, sample, share
from tests.work.conftest import LATER, NOW
from tests.work.test_quarantine import start_run
from tests.work.test_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "Write about two frogs."


def wait_until_blocked(*, unless=None):
    """Another transaction waits for a lock, or the event has happened that makes it pointless to wait."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if unless and unless.is_set():
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.fixture
def written(db):
    """An accepted rewriting that became a prompt: its labeler and assignment."""
    campaign = make.campaign("instructions", over=make.pool(), target_pool=make.pool(), review_percent=0)
    source = make.prompt(campaign.pool, in_group=make.group(split=Split.TRAIN))
    filling.add_tasks(campaign=campaign, prompts=Prompt.objects.filter(id=source.id), now=NOW)
    labeler = make.user()
    make.acknowledge(labeler, campaign)
    held = leases.claim(campaign_id=campaign.id, labeler=labeler, now=NOW)
    instructions.submit(
        assignment_id=held.id,
        labeler=labeler,
        kind="plain",
        text=Text(TEXT),
        category="generation",
        reasons=["unclear"],
        note="",
        submit_key=uuid4(),
        now=NOW,
    )
    return labeler, held


def test_two_sweeps_and_an_equal_text_at_once_make_one_prompt(written):
    labeler, _held = written
    customer = draft(TEXT, source=Source.CUSTOMER, source_user=customer_of(Split.VALID))
    outcomes = at_once(
        lambda: instructions.sweep(now=LATER),
        lambda: instructions.sweep(now=LATER),
        lambda: pools.add_prompt(pool=make.pool(), draft=customer, now=NOW),
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    made = Prompt.objects.get(author=labeler)
    copy = Prompt.objects.get(id=outcomes[2].id)
    # Whichever came second waits for a manager.
    assert [made.quarantine_twin, copy.quarantine_twin] in ([None, made], [copy, None])


@pytest.mark.parametrize("_round", range(4))
def test_an_undo_and_the_sweep_at_once_leave_a_draft_or_a_prompt(written, _round):
    labeler, held = written
    outcomes = at_once(
        lambda: instructions.undo(assignment_id=held.id, labeler=labeler, now=NOW),
        lambda: instructions.sweep(now=LATER),
    )
    undone = not isinstance(outcomes[0], Exception)
    assert undone or isinstance(outcomes[0], refusals.UndoOver)
    assert outcomes[1] is None
    assert Prompt.objects.filter(author=labeler).exists() == (not undone)
    assert Draft.objects.filter(labeler=labeler).exists() == undone


def test_a_quarantine_while_slates_are_made_waits_for_them(monkeypatch):
    """Some slates are opened, and for others a run is asked for more: the supply locks the campaign and the run."""
    pool = make.pool()
    ready, short, waiting = (make.prompt(pool) for _ in range(3))
    campaign = make.campaign("rankings", over=pool)
    mixed(campaign, share(make.policy(), 4), high=9)
    fill_campaigns()
    sample(lambda run, prompt, k: "Alike." if prompt == short.id else another(run, prompt, k), most=2)
    assert SampleRequest.objects.get(prompt=waiting).state == RequestState.WAITING
    asked = threading.Event()
    sample_more = slate_supply.sampling.sample_more

    def ask_and_wait(**more):
        sample_more(**more)
        asked.set()
        wait_until_blocked()

    monkeypatch.setattr(slate_supply.sampling, "sample_more", ask_and_wait)

    def put_away():
        assert asked.wait(timeout=20)
        twin = make.prompt(make.pool(), in_group=make.group(split=Split.VALID))
        return quarantine(cases=[Case(waiting.id, twin.id, QuarantineReason.EQUAL_TEXT)], by=None, now=NOW)

    outcomes = at_once(lambda: slate_supply.refill(campaign=campaign, now=NOW), put_away)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    assert list(campaign.tasks.values_list("prompt", flat=True)) == [ready.id]
    assert SampleRequest.objects.get(prompt=waiting).state == RequestState.CANCELLED


def test_a_labeler_goes_back_to_an_answer_while_the_prompt_of_their_task_is_replaced(open_desk, monkeypatch):
    """They hold their seat and give the task back; the release makes a task, which changes seats, and stops theirs."""
    desk = open_desk(tasks=2, review_percent=100)
    labeler = desk.labeler()
    answer = desk.claim(labeler)
    desk.submit(answer, labeler)
    desk.send_back(answer)
    held = desk.claim(labeler)
    used, side = held.task.prompt, held.task.prompt.group.split
    (other,) = set(Split.values) - {side}
    wanted = make.prompt(desk.campaign.pool, in_group=make.group(split=other))
    ExampleText.objects.create(prompt=wanted, content_hash=used.content_hash)
    quarantine(cases=[Case(wanted.id, used.id, QuarantineReason.EQUAL_EXAMPLE)], by=None, now=NOW)
    seated, held_in = threading.Event(), submitting.held_in

    def look_and_wait(*args, **options):
        seated.set()
        wait_until_blocked()
        return held_in(*args, **options)

    monkeypatch.setattr(submitting, "held_in", look_and_wait)

    def replace():
        assert seated.wait(timeout=20)
        return release(prompt_id=wanted.id, by=None, now=NOW, readmit=readmit, instead=True)

    outcomes = at_once(lambda: submitting.resume(assignment_id=answer.id, labeler=labeler, now=NOW), replace)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    assert Assignment.objects.get(task__prompt=used).state == State.STOPPED
    assert Assignment.objects.get(task__prompt=wanted).state == State.OPEN
    assert Assignment.objects.get(id=answer.id).state == State.LEASED


def test_a_campaign_that_begins_during_a_decision_gets_no_task_of_the_prompt(monkeypatch):
    """The decision has not seen the campaign, and whoever makes its tasks does not see the decision yet."""
    prompt = make.prompt(make.pool())
    decided, filled, stop_slots = threading.Event(), threading.Event(), decisions.stop_slots

    def stop_and_wait(*args, **options):
        stop_slots(*args, **options)
        decided.set()
        wait_until_blocked(unless=filled)

    monkeypatch.setattr(decisions, "stop_slots", stop_and_wait)

    def put_away():
        twin = make.prompt(make.pool(), in_group=make.group(split=Split.VALID))
        return quarantine(cases=[Case(prompt.id, twin.id, QuarantineReason.EQUAL_TEXT)], by=None, now=NOW)

    def begin():
        assert decided.wait(timeout=20)
        campaign = make.campaign(over=prompt.pool)
        made = filling.add_tasks(campaign=campaign, prompts=Prompt.objects.filter(id=prompt.id), now=NOW)
        filled.set()
        return made

    assert at_once(put_away, begin) == [1, []]
    assert not Assignment.objects.filter(task__prompt=prompt).exists()


def test_two_decisions_on_a_pool_without_campaigns_lock_its_runs_one_after_the_other(monkeypatch):
    """The release takes the later run up before it stops the earlier one; the quarantine goes by the runs' numbers."""
    pool = make.pool()
    used, third = (make.prompt(pool, in_group=make.group(split=Split.TRAIN)) for _ in range(2))
    wanted = make.prompt(pool, in_group=make.group(split=Split.VALID))
    twin = make.prompt(make.pool(), in_group=make.group(split=Split.VALID))
    ExampleText.objects.create(prompt=wanted, content_hash=used.content_hash)
    for sampled in ([used, third], [wanted, third]):
        start_run(pool, k=1, temperature=1, prompts=Prompt.objects.filter(id__in=[prompt.id for prompt in sampled]))
    quarantine(cases=[Case(wanted.id, used.id, QuarantineReason.EQUAL_EXAMPLE)], by=None, now=NOW)
    taken, resume_prompts = threading.Event(), decisions.runs.resume_prompts

    def resume_and_wait(**options):
        resume_prompts(**options)
        taken.set()
        wait_until_blocked()

    monkeypatch.setattr(decisions.runs, "resume_prompts", resume_and_wait)

    def put_away():
        assert taken.wait(timeout=20)
        return quarantine(cases=[Case(third.id, twin.id, QuarantineReason.EQUAL_TEXT)], by=None, now=NOW)

    outcomes = at_once(lambda: release(prompt_id=wanted.id, by=None, now=NOW, readmit=readmit, instead=True), put_away)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    assert SampleRequest.objects.get(state=RequestState.WAITING).prompt == wanted
