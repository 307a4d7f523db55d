"""What a prompt's quarantine does to its tasks and its samples, and a release."""

import pytest

from annotate.accounts.models import Role
from annotate.pools import actions as pools
from annotate.pools.models import Prompt, PromptGroup, QuarantineMove, QuarantineReason, Source, Split
from annotate.pools.quarantine import Case
from annotate.rankings import slate_supply
from annotate.rankings.models import Slate
from annotate.samples import requests, runs
from annotate.samples.models import SampleRun
from annotate.samples.states import RequestState, RunState
from annotate.work import filling, leases, refusals
from annotate.work.campaigns import change_state
from annotate.work.models import Task
from annotate.work.quarantine import NotInQuarantine, StillEqual, WrongSide, keep, quarantine, release
from annotate.work.queries import progress
from annotate.work.states import CampaignState, Move, State
from annotate.work.stopped import restart_task
from annotate.workflows import counts
from annotate.workflows.actions import readmit
from annotate.workflows.tasks import fill_campaigns
from tests import factories as make
from tests.factories import draft_of
from tests.pools.test_quarantine import assert_no_leak
from tests.rankings.test_supply import mixed, sample, share
from tests.work.conftest import LATER, NOW
from tests.work.test_races import at_once

EQUAL_TEXT, _EQUAL_EXAMPLE, OTHER_SIDE = QuarantineReason


def away(prompt, twin=None, reason=EQUAL_TEXT):
    twin = twin or make.prompt(make.pool(), in_group=make.group(split=Split.VALID))
    return quarantine(cases=[Case(prompt.id, twin.id, reason)], by=None, now=NOW)


def back(prompt, **options):
    return release(prompt_id=prompt.id, by=make.user(Role.MANAGER), now=NOW, readmit=readmit, **options)


def start_run(pool, **asked):
    values = {"top_p": 1, "max_new_tokens": 9, "stop": [], "seed": 1, "by": None, "now": NOW} | asked
    return runs.start(pool=pool, policy=make.policy(), **values)


def prompts_of(desk):
    return list(desk.campaign.pool.prompts.order_by("id"))


def states_of(prompt):
    return list(prompt.tasks.get().assignments.order_by("slot").values_list("state", flat=True))


def test_open_slots_are_not_handed_out_and_come_back_first(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    first, second = prompts_of(desk)
    assert away(first) == 1
    assert states_of(first) == [State.STOPPED, State.STOPPED]
    taken = [desk.claim(desk.labeler()).task.prompt_id for _ in range(2)]
    assert taken == [second.id, second.id]
    with pytest.raises(refusals.NothingLeft):
        desk.claim(late := desk.labeler())
    back(first)
    assert states_of(first) == [State.OPEN, State.OPEN]
    assert desk.claim(late).task.prompt_id == first.id


def test_whoever_holds_a_task_finishes_it_and_what_comes_back_is_not_handed_out(open_desk):
    desk = open_desk(overlap=4)
    (prompt,) = prompts_of(desk)
    finishing, releasing, leaving = (desk.labeler() for _ in range(3))
    held = {person: desk.claim(person) for person in (finishing, releasing, leaving)}
    desk.draft(held[leaving], leaving)
    away(prompt)
    assert desk.submit(held[finishing], finishing).assignment.state == State.ACCEPTED
    desk.release(held[releasing], releasing)
    leases.sweep(now=LATER)
    assert states_of(prompt) == [State.ACCEPTED, State.STOPPED, State.STOPPED, State.STOPPED]
    assert draft_of(leaving, held[leaving].task_id)
    back(prompt)
    assert states_of(prompt) == [State.ACCEPTED, State.OPEN, State.OPEN, State.OPEN]
    assert desk.claim(leaving, now=LATER).id


def test_what_nobody_can_answer_keeps_no_campaign_below_a_hundred_percent(open_desk):
    desk = open_desk(tasks=2, overlap=2, skip_limit=1)
    first, second = prompts_of(desk)
    away(first)
    for _ in range(2):
        person = desk.labeler()
        desk.submit(desk.claim(person), person)
    standing = progress([desk.campaign])[desk.campaign.id]
    assert (standing.held, standing.stopped, standing.total, standing.percent) == (2, 0, 2, 100)
    back(first)
    assert progress([desk.campaign])[desk.campaign.id].percent == 50
    desk.skip(desk.claim(person := desk.labeler()), person)
    assert progress([desk.campaign])[desk.campaign.id].stopped == 2
    assert second.tasks.count() == 1


def test_slots_of_a_raised_overlap_wait_too(open_desk):
    desk = open_desk(overlap=1)
    (prompt,) = prompts_of(desk)
    away(prompt)
    desk.change_overlap(3)
    assert states_of(prompt) == [State.STOPPED] * 3
    desk.change_overlap(2)
    assert sorted(states_of(prompt)) == [State.CANCELLED, State.STOPPED, State.STOPPED]
    back(prompt)
    assert sorted(states_of(prompt)) == [State.CANCELLED, State.OPEN, State.OPEN]


def test_a_task_that_was_skipped_too_often_stays_stopped_after_the_release(open_desk):
    desk = open_desk(skip_limit=1)
    (prompt,) = prompts_of(desk)
    desk.skip(desk.claim(person := desk.labeler()), person)
    away(prompt)
    task = prompt.tasks.get()
    with pytest.raises(refusals.InQuarantine):
        restart_task(task_id=task.id, by=make.user(Role.MANAGER), now=NOW)
    back(prompt)
    assert states_of(prompt) == [State.STOPPED]
    restart_task(task_id=task.id, by=make.user(Role.MANAGER), now=NOW)
    assert states_of(prompt) == [State.OPEN]


def test_a_closed_campaign_cancels_what_is_held(open_desk):
    desk = open_desk()
    (prompt,) = prompts_of(desk)
    away(prompt)
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
    back(prompt)
    assert states_of(prompt) == [State.CANCELLED]


@pytest.mark.django_db
@pytest.mark.parametrize("workflow", ["demonstrations", "instructions"])
def test_no_task_is_made_of_it_until_it_is_released(workflow, monkeypatch):
    monkeypatch.setattr("annotate.work.queries.LATE_IDS", 0)
    pool = make.pool()
    old, new = make.prompt(pool), make.prompt(pool)
    campaign = make.campaign(
        workflow, over=pool, **({"target_pool": make.pool()} if workflow == "instructions" else {})
    )
    away(old)
    fill_campaigns()
    assert list(campaign.tasks.values_list("prompt", flat=True)) == [new.id]
    assert counts.count(campaign, now=NOW).missing == 0
    # The filling has passed it by, and would not come back for it.
    back(old)
    assert sorted(campaign.tasks.values_list("prompt", flat=True)) == [old.id, new.id]


@pytest.mark.django_db
def test_the_statement_that_makes_tasks_leaves_it_out_whatever_is_asked():
    pool = make.pool()
    prompt = make.prompt(pool)
    campaign = make.campaign(over=pool)
    away(prompt)
    assert filling.add_tasks(campaign=campaign, prompts=pool.prompts.all(), now=NOW) == []
    assert not Task.objects.exists()


@pytest.mark.django_db
def test_it_is_not_sampled_and_a_run_does_not_wait_for_it():
    pool = make.pool()
    prompt, other = make.prompt(pool), make.prompt(pool)
    run = start_run(pool, k=2, temperature=1)
    away(prompt)
    assert run.requests.get(prompt=prompt).state == RequestState.CANCELLED
    sample()
    run.refresh_from_db()
    assert run.state == RunState.DONE
    assert not prompt.completions.exists()
    back(prompt)
    run.refresh_from_db()
    assert (run.state, run.requests.get(prompt=prompt).state) == (RunState.RUNNING, RequestState.WAITING)
    sample()
    assert prompt.completions.count() == other.completions.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["its worker stopped", "it failed and is tried again"])
def test_what_waits_again_though_it_is_in_quarantine_is_not_sampled(how):
    pool = make.pool()
    prompt = make.prompt(pool)
    run = start_run(pool, k=1, temperature=0)
    lease = {"run": run, "worker": "w", "limit": 9, "lease": 9 * make.MINUTE, "now": NOW}
    (request,) = requests.claim(**lease)
    if how == "its worker stopped":
        away(prompt)
        requests.release(run=run, worker="w")
    else:
        requests.fail(request=request, error="No memory.", now=NOW, final=True)
        away(prompt)
        runs.retry_failed(run=run)
    assert requests.claim(**lease) == []
    run.refresh_from_db()
    assert (run.state, run.requests.get().state) == (RunState.DONE, RequestState.CANCELLED)
    back(prompt)
    assert len(requests.claim(**lease)) == 1


@pytest.mark.django_db
def test_a_new_run_leaves_it_out():
    pool = make.pool()
    prompt, other = make.prompt(pool), make.prompt(pool)
    away(prompt)
    run = start_run(pool, k=1, temperature=0)
    assert list(run.requests.values_list("prompt", flat=True)) == [other.id]


@pytest.mark.django_db
def test_no_slate_is_made_of_it_until_it_is_released():
    pool = make.pool()
    prompt, other = make.prompt(pool), make.prompt(pool)
    campaign = make.campaign("rankings", over=pool)
    policy = make.policy()
    for each in (prompt, other):
        for number in range(4):
            make.completion(each, policy, f"{number} of {each.id} is unlike all others")
    away(prompt)
    fill_campaigns()
    assert list(campaign.tasks.values_list("prompt", flat=True)) == [other.id]
    back(prompt)
    fill_campaigns()
    assert campaign.tasks.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("when", ["before it is asked", "while it is sampled", "when it is ready"])
def test_a_mix_passes_it_by_and_comes_back_for_it(when):
    pool = make.pool()
    prompt = make.prompt(pool)
    others = [make.prompt(pool) for _ in range(2)]
    campaign = make.campaign("rankings", over=pool)
    mixed(campaign, share(make.policy(), count=4), low=3)
    if when == "before it is asked":
        away(prompt)
    slate_supply.refill(campaign=campaign, now=NOW)
    if when == "while it is sampled":
        away(prompt)
    sample()
    slate_supply.refill(campaign=campaign, now=NOW)
    if when == "when it is ready":
        away(prompt)
        slate_supply.refill(campaign=campaign, now=NOW)
    open_slots = campaign.assignments.filter(state=State.OPEN)
    assert {slot.task.prompt_id for slot in open_slots} == {other.id for other in others}
    back(prompt)
    slate_supply.refill(campaign=campaign, now=NOW)
    sample()
    slate_supply.refill(campaign=campaign, now=NOW)
    assert {slot.task.prompt_id for slot in open_slots.all()} == {prompt.id, *(other.id for other in others)}
    assert Slate.objects.filter(prompt=prompt).count() == 1
    assert not SampleRun.objects.filter(state=RunState.CANCELLED).exists()


@pytest.fixture
def twins(db):
    """Two customers on two sides, and a text of both: the older prompt is in use, the newer in quarantine."""
    rows = []
    for name, side in (("acme", Split.TRAIN), ("zenith", Split.VALID)):
        PromptGroup.objects.create(key=f"customer:{name}", split=side, created_at=NOW)
        draft = pools.PromptDraft(
            messages=[{"role": "user", "content": "Same."}], source=Source.CUSTOMER, source_user=name
        )
        rows.append(pools.add_prompt(pool=make.pool(), draft=draft, now=NOW))
    return rows


def test_a_release_is_refused_while_an_equal_text_is_in_use(twins):
    used, copy = twins
    with pytest.raises(StillEqual, match=str(used.id)):
        back(copy)
    copy.refresh_from_db()
    assert copy.quarantined_at
    assert_no_leak()


def test_a_copy_is_used_instead_of_the_other_and_back_again(twins):
    used, copy = twins
    campaigns = [make.campaign(over=prompt.pool) for prompt in twins]
    fill_campaigns()
    for now_used, now_away in ((copy, used), (used, copy)):
        back(now_used, instead=True)
        now_used.refresh_from_db()
        now_away.refresh_from_db()
        assert (now_used.quarantined_at, now_used.quarantine_twin) == (None, None)
        assert (now_away.quarantine_reason, now_away.quarantine_twin) == (EQUAL_TEXT, now_used)
        assert states_of(now_used) == [State.OPEN] * campaigns[0].overlap
        assert states_of(now_away) == [State.STOPPED] * campaigns[1].overlap
        assert_no_leak()
    moves = used.quarantine_events.order_by("id").values_list("move", flat=True)
    assert list(moves) == [QuarantineMove.QUARANTINE, QuarantineMove.RELEASE]


def test_a_copy_is_released_once_the_other_is_gone(twins):
    used, copy = twins
    used.delete()
    copy.refresh_from_db()
    assert copy.quarantine_twin is None
    assert back(copy).quarantined_at is None


def test_what_belongs_to_the_other_side_is_never_released(twins):
    _used, copy = twins
    misplaced = make.prompt(
        make.pool(), "Theirs.", in_group=make.group(split=Split.TRAIN), source=Source.CUSTOMER, source_user="Zenith"
    )
    edit = make.prompt(make.pool(), "Edited.", in_group=misplaced.group, parent=misplaced)
    # Its twin is in quarantine itself, but the next prompt of the customer will be on that side.
    assert away(misplaced, copy, OTHER_SIDE) == 1
    back(copy, instead=True)
    away(edit, copy, OTHER_SIDE)
    misplaced.refresh_from_db()
    assert misplaced.quarantine_twin is None
    for prompt in (misplaced, edit):
        with pytest.raises(WrongSide):
            back(prompt, instead=True)


def test_a_manager_keeps_it_and_may_decide_otherwise_later(twins):
    used, copy = twins
    manager = make.user(Role.MANAGER)
    keep(prompt_id=copy.id, by=manager, now=NOW)
    copy.refresh_from_db()
    assert (copy.quarantine_decided_by, copy.quarantine_decided_at) == (manager, NOW)
    assert copy.quarantine_events.filter(move=QuarantineMove.KEEP, actor=manager).count() == 1
    used.delete()
    assert back(copy).quarantine_decided_by is None
    for decision in (lambda: keep(prompt_id=copy.id, by=manager, now=NOW), lambda: back(copy)):
        with pytest.raises(NotInQuarantine):
            decision()


def test_a_decision_is_an_event_of_each_slot(open_desk):
    desk = open_desk()
    (prompt,) = prompts_of(desk)
    away(prompt)
    back(prompt)
    slot = prompt.tasks.get().assignments.get()
    assert list(slot.events.order_by("id").values_list("move", flat=True)) == [Move.STOP, Move.RESTART]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_put_each_others_twin_away_one_stays_in_use():
    for _ in range(5):
        first = make.prompt(make.pool(), in_group=make.group(split=Split.TRAIN))
        second = make.prompt(make.pool(), in_group=make.group(split=Split.VALID))
        at_once(lambda a=first, b=second: away(a, b), lambda a=first, b=second: away(b, a))
        assert Prompt.objects.filter(id__in=[first.id, second.id], quarantined_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_who_use_each_of_the_copies_at_once_never_use_both(twins):
    used, copy = twins
    pools_of = [used.pool, copy.pool]
    for pool in pools_of:
        make.campaign(over=pool)
    fill_campaigns()

    def decide(prompt):
        try:
            back(prompt, instead=True)
        except (NotInQuarantine, StillEqual):
            pass

    for _ in range(5):
        at_once(lambda: decide(used), lambda: decide(copy))
        assert Prompt.objects.filter(id__in=[used.id, copy.id], quarantined_at=None).count() == 1
        assert_no_leak()


@pytest.mark.django_db(transaction=True)
def test_a_claim_at_the_moment_of_the_quarantine_takes_the_slot_or_finds_nothing(open_desk):
    for _ in range(5):
        desk = open_desk(overlap=2)
        (prompt,) = prompts_of(desk)
        labelers = [desk.labeler(), desk.labeler()]

        def claim(person, desk=desk):
            try:
                return desk.claim(person)
            except (refusals.NothingLeft, refusals.Busy):
                return None

        at_once(lambda prompt=prompt: away(prompt), *[lambda person=person: claim(person) for person in labelers])
        assert set(states_of(prompt)) <= {State.LEASED, State.STOPPED}
