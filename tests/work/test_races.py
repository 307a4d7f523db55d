"""The engine under real threads on real connections: every thread commits, and the rows are counted afterwards."""

import random
import threading
import time
from collections import Counter
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.db.models import Count

from annotate.accounts.models import Role
from annotate.work import actions, leases
from annotate.work.models import Assignment, Campaign, Draft, Event, SkipReason
from annotate.work.moves import Moved
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.work.conftest import LATER, NOW

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*jobs):
    """Run the jobs in a thread each, let them go together, and return what each returned or raised."""
    gate, outcomes = threading.Barrier(len(jobs)), [None] * len(jobs)

    def run(index, job):
        gate.wait(timeout=10)
        try:
            outcomes[index] = job()
        except Exception as error:  # handed to the test, which names what it expects
            outcomes[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs: a deadlock"
    return outcomes


def claim_until_done(desk, labeler, answered):
    """Work as a labeler does until nothing is left, and note each acknowledged submit."""
    while True:
        try:
            held = desk.claim(labeler)
            answered.append((desk.submit(held, labeler).assignment.task_id, labeler.id))
        except leases.Busy:
            continue
        except leases.NothingLeft:
            return


def test_eight_labelers_share_a_campaign_without_one_answer_too_many_or_too_few(open_desk):
    desk = open_desk(tasks=12, overlap=3)
    labelers = [desk.labeler() for _ in range(8)]
    answered = []
    at_once(*(lambda who=who: claim_until_done(desk, who, answered) for who in labelers))
    per_task = Counter(task for task, _labeler in answered)
    assert per_task == dict.fromkeys(desk.campaign.tasks.values_list("id", flat=True), 3)
    assert len(answered) == len(set(answered)) == 36
    stored = set(Assignment.objects.filter(state=State.ACCEPTED).values_list("task_id", "labeler_id"))
    assert stored == set(answered)


def test_the_last_slot_goes_to_one(open_desk):
    desk = open_desk()
    labelers = [desk.labeler() for _ in range(6)]
    outcomes = at_once(*(lambda who=who: desk.claim(who) for who in labelers))
    winners = [outcome for outcome in outcomes if isinstance(outcome, Assignment)]
    assert len(winners) == 1
    assert all(isinstance(outcome, Assignment | leases.Busy | leases.NothingLeft) for outcome in outcomes)


def test_two_tabs_one_lease(open_desk):
    desk = open_desk(tasks=4, overlap=2)
    labeler = desk.labeler()
    outcomes = at_once(*[lambda: desk.claim(labeler)] * 5)
    assert len({outcome.id for outcome in outcomes}) == 1
    assert Assignment.objects.filter(labeler=labeler).count() == 1


def test_a_doubled_submit_is_stored_once(open_desk):
    desk = open_desk()
    labeler, key = desk.labeler(), uuid4()
    held = desk.claim(labeler)
    outcomes = at_once(*[lambda: desk.submit(held, labeler, key=key)] * 5)
    assert sorted(outcome.repeated for outcome in outcomes) == [False, True, True, True, True]
    assert Event.objects.filter(move=Move.SUBMIT).count() == 1


def test_two_tabs_submit_different_texts_and_one_of_them_counts(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    outcomes = at_once(*[lambda: desk.submit(held, labeler)] * 4)
    taken = [outcome for outcome in outcomes if isinstance(outcome, leases.Submission)]
    assert len(taken) == 1
    assert sum(isinstance(outcome, leases.AlreadySubmitted) for outcome in outcomes) == 3


@pytest.mark.parametrize("_round", range(5))
def test_submit_against_expiry_ends_with_the_answer_stored(open_desk, _round):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    submission, freed = at_once(lambda: desk.submit(held, labeler, now=LATER), lambda: leases.sweep(now=LATER))
    assert isinstance(submission, leases.Submission)
    assert freed in (0, 1)
    assert Assignment.objects.get(id=held.id).state == State.ACCEPTED


@pytest.mark.parametrize("_round", range(5))
def test_a_late_submit_against_a_claim_ends_with_one_owner(open_desk, _round):
    desk = open_desk()
    late, quick = desk.labeler(), desk.labeler()
    held = desk.claim(late)
    leases.sweep(now=LATER)
    submission, claimed = at_once(lambda: desk.submit(held, late, now=LATER), lambda: desk.claim(quick, now=LATER))
    row = Assignment.objects.get(id=held.id)
    if isinstance(submission, leases.Submission):
        assert row.labeler == late
        assert isinstance(claimed, leases.Busy | leases.NothingLeft)
    else:
        assert isinstance(submission, leases.LeaseLost)
        assert row.labeler == quick


@pytest.mark.parametrize("_round", range(5))
def test_skip_against_claim_never_brings_the_task_back(open_desk, _round):
    desk = open_desk(tasks=2)
    labeler, other = desk.labeler(), desk.labeler()
    held = desk.claim(labeler)
    skip, claimed, mine = at_once(
        lambda: leases.skip(assignment_id=held.id, labeler=labeler, reason=SkipReason.OTHER, note="", now=NOW),
        lambda: desk.claim(other),
        lambda: desk.claim(labeler),
    )
    assert skip.task_id == held.task_id
    assert isinstance(claimed, Assignment | leases.Busy)
    # Either the tab saw the task before the skip, or it got the other one; the skipped one is never leased again.
    assert isinstance(mine, Assignment | leases.Busy | leases.NothingLeft)
    assert not Assignment.objects.filter(task_id=held.task_id, labeler=labeler).exists()


def test_many_sweeps_at_once_free_each_lease_once(open_desk):
    desk = open_desk(tasks=30)
    for _ in range(30):
        desk.claim(desk.labeler())
    freed = at_once(*[lambda: leases.sweep(now=LATER)] * 4)
    assert sum(freed) == 30
    per_slot = Event.objects.filter(move=Move.EXPIRE).values("assignment").annotate(times=Count("id"))
    assert [row["times"] for row in per_slot] == [1] * 30


def test_two_reviewers_decide_once(open_desk):
    desk = open_desk(review_percent=100)
    answer = desk.answer(desk.labeler())
    first, second = make.user(Role.REVIEWER), make.user(Role.REVIEWER)

    def decide(verb, reviewer):
        with transaction.atomic():
            return verb(assignment_id=answer.id, reviewer=reviewer, comment="Because.", now=NOW)

    outcomes = at_once(lambda: decide(actions.accept, first), lambda: decide(actions.send_back, second))
    assert {type(outcome) for outcome in outcomes} == {Assignment, Moved}


def test_two_openings_at_once_make_each_task_once(open_desk):
    desk = open_desk(tasks=0, overlap=2)
    for _ in range(40):
        make.prompt(desk.campaign.pool)

    def fill():
        with transaction.atomic():
            return len(
                actions.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.order_by("id"), now=NOW)
            )

    assert sum(at_once(fill, fill, fill)) == 40
    assert Assignment.objects.count() == 80


def test_a_storm_of_every_verb_breaks_nothing(open_desk):
    """Six people do whatever they like for a while; then the books are checked."""
    desk = open_desk(tasks=15, overlap=2, review_percent=50)
    people = [desk.labeler() for _ in range(6)]
    acknowledged = []

    def live(labeler, seed):
        chance = random.Random(seed)
        for _ in range(25):
            try:
                held = desk.claim(labeler)
                verb = chance.choice(["submit", "submit", "submit", "skip", "release", "draft", "sweep"])
                if verb == "submit":
                    acknowledged.append((desk.submit(held, labeler).assignment.task_id, labeler.id))
                elif verb == "skip":
                    leases.skip(assignment_id=held.id, labeler=labeler, reason=SkipReason.OTHER, note="", now=NOW)
                elif verb == "release":
                    leases.release(assignment_id=held.id, labeler=labeler, now=NOW)
                elif verb == "draft":
                    desk.draft(held, labeler)
                else:
                    leases.sweep(now=LATER)
            except (leases.Refused, Moved):
                continue

    outcomes = at_once(*(lambda who=who, seed=seed: live(who, seed) for seed, who in enumerate(people)))
    assert outcomes == [None] * 6
    done = Assignment.objects.filter(state__in=[State.SUBMITTED, State.ACCEPTED])
    assert set(done.values_list("task_id", "labeler_id")) == set(acknowledged)
    assert len(acknowledged) == len(set(acknowledged))
    assert Assignment.objects.count() == 30
    assert all(count <= 2 for count in Counter(done.values_list("task_id", flat=True)).values())


def test_an_autosave_under_way_with_the_submit_does_not_bring_the_draft_back(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    desk.draft(held, labeler)
    submitted, saving = threading.Event(), threading.Event()

    def submit():
        with transaction.atomic():
            leases.submit(assignment_id=held.id, labeler=labeler, submit_key=uuid4(), now=NOW)
            submitted.set()
            saving.wait(timeout=10)
            # The autosave looks at the task now, before this is committed.
            time.sleep(0.3)

    def autosave():
        submitted.wait(timeout=10)
        saving.set()
        return desk.draft(held, labeler, "half a sen")

    _nothing, outcome = at_once(submit, autosave)
    assert isinstance(outcome, leases.AlreadySubmitted)
    assert not Draft.objects.exists()


def test_what_is_put_back_while_the_campaign_closes_does_not_stay_open_for_ever(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    released, closed = threading.Event(), threading.Event()

    def release():
        with transaction.atomic():
            leases.release(assignment_id=held.id, labeler=labeler, now=NOW)
            released.set()
            closed.wait(timeout=10)

    def close():
        released.wait(timeout=10)
        actions.change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
        closed.set()

    at_once(release, close)
    assert Assignment.objects.get().state == State.OPEN
    assert [actions.cancel_left_open(now=LATER), actions.cancel_left_open(now=LATER)] == [1, 0]
    assert Assignment.objects.get().state == State.CANCELLED
    assert Event.objects.filter(move=Move.CANCEL).count() == 1


def test_the_sweep_leaves_open_slots_of_other_campaigns_alone(open_desk):
    desk = open_desk(tasks=2)
    for state in (CampaignState.PAUSED, CampaignState.OPEN):
        actions.change_state(campaign=Campaign.objects.get(), to=state, now=NOW)
        assert actions.cancel_left_open(now=LATER) == 0
    assert desk.claim(desk.labeler())
