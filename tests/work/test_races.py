"""The engine under real threads on real connections: every thread commits, and the rows are counted afterwards."""

import random
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import Count

from annotate.accounts.models import Role
from annotate.lib.refusals import Refusal
from annotate.pools.models import Prompt
from annotate.work import filling, leases, queries, queue, refusals, slots, submitting, times
from annotate.work.campaigns import change_campaign, change_state, settle
from annotate.work.models import Assignment, Campaign, Draft, Event, Order, Seat, SkipReason
from annotate.work.refusals import Moved
from annotate.work.review import accept, replace_sent_back, send_back
from annotate.work.states import MOVES, CampaignState, Move, State
from annotate.work.stopped import restart_task
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


@contextmanager
def under_way(job):
    """The job has been done, but its transaction ends only with this block."""
    done, end = threading.Event(), threading.Event()

    def in_a_transaction():
        with transaction.atomic():
            job()
            done.set()
            end.wait(timeout=20)

    def begin():
        at_once(in_a_transaction)

    thread = threading.Thread(target=begin)
    thread.start()
    assert done.wait(timeout=20)
    try:
        yield
    finally:
        end.set()
        thread.join(timeout=60)


def claim_until_done(desk, labeler, answered):
    """Work as a labeler does until nothing is left, and note each acknowledged submit."""
    while True:
        try:
            held = desk.claim(labeler)
            answered.append((desk.submit(held, labeler).assignment.task_id, labeler.id))
        except refusals.Busy:
            continue
        except refusals.NothingLeft:
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
    assert all(isinstance(outcome, Assignment | refusals.Busy | refusals.NothingLeft) for outcome in outcomes)


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


def test_of_two_people_who_send_one_key_concurrently_the_second_is_refused(open_desk):
    """Only a forged or copied page sends the key of somebody else, so nobody loses an answer."""
    desk, key = open_desk(tasks=2), uuid4()
    one, other = desk.labeler(), desk.labeler()
    first, second = desk.claim(one), desk.claim(other)
    with under_way(lambda: desk.submit(first, one, key=key)):
        thread, outcomes = begin_at_once(lambda: desk.submit(second, other, key=key))
    thread.join(timeout=20)
    assert [type(outcome) for outcome in outcomes] == [refusals.KeyTaken]
    second.refresh_from_db()
    assert (second.state, second.labeler) == (State.LEASED, other)


def test_two_tabs_submit_different_texts_and_one_of_them_counts(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    outcomes = at_once(*[lambda: desk.submit(held, labeler)] * 4)
    taken = [outcome for outcome in outcomes if isinstance(outcome, submitting.Submission)]
    assert len(taken) == 1
    assert sum(isinstance(outcome, refusals.AlreadySubmitted) for outcome in outcomes) == 3


@pytest.mark.parametrize("_round", range(5))
def test_submit_against_expiry_ends_with_the_answer_stored(open_desk, _round):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    submission, freed = at_once(lambda: desk.submit(held, labeler, now=LATER), lambda: leases.sweep(now=LATER))
    assert isinstance(submission, submitting.Submission)
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
    if isinstance(submission, submitting.Submission):
        assert row.labeler == late
        assert isinstance(claimed, refusals.Busy | refusals.NothingLeft)
    else:
        assert isinstance(submission, refusals.LeaseLost)
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
    assert isinstance(claimed, Assignment | refusals.Busy)
    # Either the tab saw the task before the skip, or it got the other one; the skipped one is never leased again.
    assert isinstance(mine, Assignment | refusals.Busy | refusals.NothingLeft)
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

    outcomes = at_once(lambda: decide(accept, first), lambda: decide(send_back, second))
    assert {type(outcome) for outcome in outcomes} == {Assignment, Moved}


def test_two_openings_at_once_make_each_task_once(open_desk):
    desk = open_desk(tasks=0, overlap=2)
    for _ in range(40):
        make.prompt(desk.campaign.pool)

    def fill():
        with transaction.atomic():
            return len(
                filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.order_by("id"), now=NOW)
            )

    assert sum(at_once(fill, fill, fill)) == 40
    assert Assignment.objects.count() == 80


def test_a_storm_of_every_verb_breaks_nothing(open_desk):
    """Six labelers, a reviewer and a manager do whatever they like for a while; then the books are checked."""
    desk = open_desk(tasks=12, overlap=2, review_percent=50, skip_limit=2, order=Order.PRIORITY, undo_minutes=60)
    people = [desk.labeler(daily_cap=cap) for cap in (None, None, None, None, 6, 6)]
    reviewer, manager = make.user(Role.REVIEWER), make.user(Role.MANAGER)
    answered = set()

    def labeler_does(labeler, chance, step):
        held, now = desk.claim(labeler), NOW + step * timedelta(seconds=1)
        verb = chance.choice(
            ["submit", "submit", "submit", "undo", "skip", "release", "draft", "ahead", "stop", "renew"]
        )
        if verb in ("ahead", "stop"):
            desk.ahead(labeler)
        if verb in ("submit", "undo", "stop"):
            answer = desk.submit(held, labeler, now=now).assignment
            answered.add((answer.task_id, labeler.id))
        if verb == "undo" and not desk.undo(answer, labeler, now=now).rounds:
            answered.remove((answer.task_id, labeler.id))
        elif verb == "stop":
            desk.release_prefetched(labeler)
        elif verb == "skip":
            desk.skip(held, labeler)
        elif verb == "release":
            desk.release(held, labeler)
        elif verb == "draft":
            desk.draft(held, labeler)
        elif verb == "renew":
            leases.renew(assignment_id=held.id, labeler=labeler, now=NOW)
            times.count(task_id=held.task_id, labeler=labeler, visit=uuid4(), total=9, now=now)
        for back in queries.sent_back(labeler)[:1]:
            submitting.resume(assignment_id=back.id, labeler=labeler, now=now)

    def reviewer_does(_reviewer, chance, _step):
        for row in queries.to_review(reviewer)[:2]:
            verb = chance.choice([accept, send_back])
            with transaction.atomic():
                verb(assignment_id=row.id, reviewer=reviewer, comment="Because.", now=NOW)
        for row in Assignment.objects.filter(state=State.SENT_BACK)[:1]:
            replace_sent_back(assignment_id=row.id, by=manager, now=NOW)

    def manager_does(_manager, chance, _step):
        verb = chance.choice(["overlap", "prioritise", "stopped", "prompt", "sweep", "settle"])
        if verb == "overlap":
            change_campaign(campaign=desk.campaign, overlap=chance.choice([1, 2, 3]))
            while filling.match_overlap(campaign=desk.campaign, now=NOW):
                pass
        elif verb == "prioritise":
            prompts = Prompt.objects.filter(id__in=chance.sample(prompt_ids, 6))
            filling.prioritise(prompts=prompts, priority=chance.choice([-1, 0, 1]))
        elif verb == "stopped":
            for task in queries.stopped_tasks(desk.campaign):
                restart_task(task_id=task.id, by=manager, now=NOW)
        elif verb == "prompt":
            make.prompt(desk.campaign.pool)
            filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)
        elif verb == "sweep":
            leases.sweep(now=LATER)
        else:
            settle(campaigns=[desk.campaign.id], now=NOW)

    def live(does, who, seed):
        chance = random.Random(seed)
        for step in range(20):
            try:
                does(who, chance, step)
            except (Refusal, Moved):
                continue

    prompt_ids = list(Prompt.objects.values_list("id", flat=True))
    doing = [(labeler_does, who) for who in people]
    doing += [(reviewer_does, reviewer), (manager_does, manager), (manager_does, manager)]
    outcomes = at_once(*(lambda pair=pair, seed=seed: live(*pair, seed) for seed, pair in enumerate(doing)))
    assert outcomes == [None] * len(doing)
    desk.change_overlap(1)
    rows = list(Assignment.objects.select_related("task"))
    stored = {(row.task_id, row.labeler_id) for row in rows if row.submitted_at}
    assert stored == answered
    free = [row for row in rows if row.state in (State.OPEN, State.STOPPED)]
    live_slots = Counter(row.task_id for row in rows if row.state != State.CANCELLED)
    assert all(live_slots[row.task_id] == 1 for row in free)
    assert all((row.state == State.STOPPED) == (row.task.stopped_at is not None) for row in free)
    told = defaultdict(list)
    for event in Event.objects.order_by("id"):
        told[event.assignment_id].append(MOVES[Move(event.move)])
    for row in rows:
        assert all(before[1] == after[0] for before, after in pairwise(told[row.id]))
        assert not told[row.id] or told[row.id][-1][1] == row.state


def test_managers_who_move_the_same_slots_at_once_do_not_lock_each_other_out(open_desk):
    desk = open_desk(tasks=30, overlap=3, order=Order.PRIORITY, skip_limit=1)
    twin = make.campaign(over=desk.campaign.pool, order=Order.PRIORITY)
    filling.add_tasks(campaign=twin, prompts=twin.pool.prompts.order_by("-id"), now=NOW)
    campaigns, people = [desk.campaign.id, twin.id], [desk.labeler() for _ in range(3)]

    def skip_all(labeler):
        for _ in range(6):
            desk.skip(desk.claim(labeler), labeler)

    outcomes = at_once(
        *(lambda who=who: skip_all(who) for who in people),
        lambda: [filling.prioritise(prompts=Prompt.objects.order_by("id"), priority=step) for step in range(6)],
        lambda: [filling.prioritise(prompts=Prompt.objects.order_by("-id"), priority=-step) for step in range(6)],
        lambda: [settle(campaigns=reversed(campaigns), now=NOW) for _ in range(12)],
        lambda: [settle(campaigns=campaigns, now=NOW) for _ in range(12)],
        lambda: [desk.change_overlap(overlap) for overlap in (1, 4, 2)],
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception) and not is_busy(outcome)]


def lock_first_open():
    return Assignment.objects.select_for_update().filter(state=State.OPEN).order_by("id")[0]


def begin_at_once(job):
    """The job, in a thread that has had time to come to a lock that it must wait for; and what it has come to."""
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.extend(at_once(job)))
    thread.start()
    thread.join(timeout=0.5)
    return thread, outcomes


def test_a_skip_that_stops_a_task_and_who_gives_its_other_slot_back_do_not_wait_for_each_other(open_desk):
    desk = open_desk(overlap=3, skip_limit=1)
    skipping, other = desk.labeler(), desk.labeler()
    held = desk.claim(skipping)
    with under_way(lock_first_open):
        threads = [begin_at_once(lambda: desk.skip(held, skipping))]
        # Stopped already, or claimed before and given back.
        threads.append(begin_at_once(lambda: desk.release(desk.claim(other), other)))
    for thread, outcomes in threads:
        thread.join(timeout=60)
        assert not isinstance(outcomes[0], OperationalError)
    assert desk.states(held) == [State.STOPPED] * 3


def test_a_skip_does_not_wait_for_ever_for_a_slot_that_somebody_locks(open_desk):
    desk = open_desk(overlap=2, skip_limit=1)
    skipping = desk.labeler()
    held = desk.claim(skipping)

    def skip():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        return desk.skip(held, skipping)

    with under_way(lock_first_open):
        (refused,) = at_once(skip)
    assert isinstance(refused, OperationalError)
    assert desk.states(held) == [State.LEASED, State.OPEN]
    desk.skip(held, skipping)
    assert desk.states(held) == [State.STOPPED] * 2


def test_a_lowered_overlap_and_who_gives_a_slot_back_do_not_wait_for_each_other(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    labeler, holder = desk.labeler(), desk.labeler()
    desk.claim(holder)
    desk.ahead(holder)
    # A claim is under way when the overlap is lowered; another slot is claimed, and given back, before it ends.
    with under_way(lock_first_open):
        threads = [begin_at_once(lambda: desk.change_overlap(1))]
        threads.append(begin_at_once(lambda: desk.release(desk.claim(labeler), labeler)))
    for thread, outcomes in threads:
        thread.join(timeout=60)
        assert not isinstance(outcomes[0], OperationalError)
    assert Counter(Assignment.objects.values_list("state", flat=True)) == {State.LEASED: 2, State.CANCELLED: 2}


def is_busy(outcome):
    return isinstance(outcome, refusals.Busy | refusals.NothingLeft)


def test_an_autosave_under_way_with_the_submit_does_not_bring_the_draft_back(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    desk.draft(held, labeler)
    submitted, saving = threading.Event(), threading.Event()

    def submit():
        with transaction.atomic():
            submitting.submit(assignment_id=held.id, labeler=labeler, submit_key=uuid4(), now=NOW)
            submitted.set()
            saving.wait(timeout=10)
            # The autosave looks at the task now, before this is committed.
            time.sleep(0.3)

    def autosave():
        submitted.wait(timeout=10)
        saving.set()
        return desk.draft(held, labeler, "half a sen")

    _nothing, outcome = at_once(submit, autosave)
    assert isinstance(outcome, refusals.AlreadySubmitted)
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
        change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
        closed.set()

    at_once(release, close)
    assert Assignment.objects.get().state == State.OPEN
    assert [slots.cancel_left_open(now=LATER), slots.cancel_left_open(now=LATER)] == [1, 0]
    assert Assignment.objects.get().state == State.CANCELLED
    assert Event.objects.filter(move=Move.CANCEL).count() == 1


def test_the_sweep_leaves_open_slots_of_other_campaigns_alone(open_desk):
    desk = open_desk(tasks=2)
    for state in (CampaignState.PAUSED, CampaignState.OPEN):
        change_state(campaign=Campaign.objects.get(), to=state, now=NOW)
        assert slots.cancel_left_open(now=LATER) == 0
    assert desk.claim(desk.labeler())


def test_of_two_that_come_back_at_once_the_first_is_not_passed_by(open_desk):
    desk = open_desk(tasks=2)
    first, second, last = desk.labeler(), desk.labeler(), desk.labeler()
    held, other = desk.claim(first), desk.claim(second)
    for _ in range(2):
        with pytest.raises(refusals.NothingLeft):
            desk.claim(last)
    later = threading.Thread(target=lambda: at_once(lambda: desk.release(other, second)))
    with under_way(lambda: desk.release(held, first)):
        later.start()
        later.join(timeout=1)
        # Nobody may see the second before the first.
        with pytest.raises(refusals.NothingLeft):
            desk.claim(last)
    later.join(timeout=60)
    assert {desk.answer(last).id for _ in range(2)} == {held.id, other.id}


@pytest.mark.parametrize("tab", ["looks at it", "gives it back"])
def test_a_lowered_overlap_leaves_no_slot_that_somebody_locks_for_a_moment(open_desk, tab):
    desk = open_desk(prompts=[{"language": "en"}, {"language": "sw"}], overlap=2)
    quick, slow = (desk.labeler(languages=["en", "sw"]) for _ in range(2))
    for _ in range(2):
        desk.answer(quick)
    jobs = {"looks at it": lambda: desk.claim(slow)}
    if tab == "gives it back":
        held = desk.claim(slow)
        jobs[tab] = lambda: desk.release(held, slow)
    lower = threading.Thread(target=lambda: at_once(lambda: desk.change_overlap(1)))
    with under_way(jobs[tab]):
        lower.start()
        lower.join(timeout=1)
    lower.join(timeout=60)
    assert not Assignment.objects.filter(state=State.OPEN).exists()


def test_a_seat_that_another_tab_makes_meanwhile_is_locked_too(open_desk, monkeypatch):
    desk = open_desk()
    labeler, execute = desk.labeler(), queue.execute

    def between(cursor, statement, values, *, first=""):
        monkeypatch.undo()
        execute(cursor, first, values)
        at_once(lambda: desk.claim(labeler))
        execute(cursor, statement, values)

    def lock_too():
        with transaction.atomic():
            Seat.objects.select_for_update(nowait=True).get(labeler=labeler)

    with transaction.atomic():
        monkeypatch.setattr(queue, "execute", between)
        assert queue.enter(desk.campaign.id, labeler).held.active
        (refused,) = at_once(lock_too)
    assert isinstance(refused, OperationalError)


@pytest.mark.parametrize("verb", ["given back", "expired"])
def test_a_raised_overlap_counts_no_slot_that_comes_back_by_the_lower_one(open_desk, verb):
    desk = open_desk(tasks=1, overlap=3)
    first, second = desk.labeler(), desk.labeler()
    held, other = desk.claim(first), desk.claim(second)
    desk.change_overlap(1)
    comes_back = {"given back": lambda: desk.release(other, second), "expired": lambda: leases._expire(other.id, LATER)}
    with under_way(comes_back[verb]):
        thread, _outcome = begin_at_once(lambda: desk.change_overlap(2))
    thread.join(timeout=30)
    assert sum(state != State.CANCELLED for state in desk.states(held)) == 2


def test_a_slow_reader_of_answers_gives_none_up_that_a_later_one_has_read(open_desk):
    elsewhere, desk = make.campaign(), open_desk(undo_minutes=60)
    labeler = desk.labeler()
    begun, submitted, read, regretted = (NOW + timedelta(seconds=each) for each in (1, 2, 3, 4))
    both = [elsewhere.id, desk.campaign.id]
    with under_way(lambda: slots.hold_campaign(elsewhere.id)):
        thread, _outcome = begin_at_once(lambda: settle(campaigns=both, now=begun))
        answer = desk.answer(labeler, now=submitted)
        settle(campaigns=[desk.campaign.id], now=read)
    thread.join()
    assert Campaign.objects.get(id=desk.campaign.id).settled_at == read
    with pytest.raises(refusals.UndoOver):
        desk.undo(answer, labeler, now=regretted)


def test_a_seat_taken_while_slots_are_added_sees_them(open_desk):
    desk = open_desk(tasks=2, overlap=1)
    newcomer = desk.labeler()
    desk.answer(desk.labeler())
    change_campaign(campaign=desk.campaign, overlap=2)
    with under_way(lambda: filling.match_overlap(campaign=desk.campaign, now=NOW)):
        held = desk.claim(newcomer)
        with pytest.raises(refusals.NothingLeft):
            desk.ahead(newcomer)
    desk.submit(held, newcomer)
    assert desk.claim(newcomer).task_id != held.task_id


def test_a_sent_back_answer_is_taken_up_while_the_other_tasks_time_ends(open_desk):
    desk = open_desk(tasks=2, review_percent=100)
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    desk.send_back(answer)
    other = desk.claim(labeler)
    with under_way(lambda: leases._expire(other.id, LATER)):
        thread, outcome = begin_at_once(lambda: submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER))
    thread.join()
    assert outcome[0].id == answer.id
    assert Assignment.objects.get(id=other.id).state == State.OPEN
    assert queries.held(labeler).get().id == answer.id
