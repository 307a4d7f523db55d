"""Slates that are sampled for their campaign: asked for ahead, judged, opened, replaced if nobody has opened them."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from annotate.rankings import slate_queries, slate_supply
from annotate.rankings.models import Candidate, Mix, MixVersion, Slate
from annotate.rankings.rules import EQUAL_COMPLETIONS, EQUAL_PARTS, BadMix, Share, part_seed
from annotate.rankings.states import SlateState, Why
from annotate.samples import policies as registry
from annotate.samples import requests as sampling_requests
from annotate.samples import runs
from annotate.samples.models import Completion, FinishReason, Origin, SampleRequest, SampleRun
from annotate.samples.states import RequestState, RunState
from annotate.work import filling, leases, refusals
from annotate.work.campaigns import change_campaign, change_state
from annotate.work.models import Assignment, Order, Task
from annotate.work.states import State
from annotate.workflows.actions import retry_failed
from annotate.workflows.tasks import fill_campaigns
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = make.NOW
LOW, HIGH = 2, 4
WORDS = "amber birch coral dune ember fjord grove heath inlet jetty knoll ledge".split()


def campaign_of(prompts=9, **fields):
    pool = make.pool()
    for _ in range(prompts):
        make.prompt(pool)
    return make.campaign("rankings", over=pool, **fields)


def mixed(campaign, *shares, **fields):
    values = {"low": LOW, "high": HIGH, "cut_off_allowed": True, "renew": False, "seed": 3} | fields
    return slate_supply.save_mix(campaign=campaign, shares=shares, **values)


def share(policy=None, count=2, **fields):
    return Share(policy_id=policy and policy.id, count=count, **fields)


def current(count=2, stage="sft", pointer="current", **fields):
    return Share(pointer=pointer, stage=stage, count=count, **fields)


def move_to(policy):
    return registry.move_current(stage=policy.stage, policy=policy, by=None, now=NOW)


def another(run, prompt_id, k):
    """A text unlike all others of the prompt."""
    return f"{WORDS[run.id % 12]} {WORDS[k]} of run {run.id}"


def sample(text=another, *, failing=(), reason=FinishReason.STOP, attempt=0, most=99):
    """A worker takes what waits of every run and writes it; requests of the policies in `failing` fail for good."""
    for run in SampleRun.objects.filter(state=RunState.RUNNING).order_by("id"):
        lease = timedelta(minutes=1)
        for request in sampling_requests.claim(run=run, worker="w", limit=most, lease=lease, now=NOW):
            if run.policy in failing:
                sampling_requests.fail(request=request, error="It broke.", now=NOW, final=True)
                continue
            have = Completion.objects.filter(run=run, prompt=request.prompt_id).count()
            for k in range(have, run.k + request.extra):
                written = sampling_requests.Written(
                    k=k,
                    text=text(run, request.prompt_id, k),
                    token_count=5,
                    finish_reason=reason,
                    seed=k,
                    attempt=attempt,
                    parameters={"temperature": run.temperature},
                    checkpoint_hash="",
                    provenance={},
                )
                sampling_requests.store(run=run, prompt_id=request.prompt_id, written=written, now=NOW)
            sampling_requests.finish(request=request, now=NOW)


def states(campaign):
    return sorted(Slate.objects.filter(campaign=campaign).values_list("state", flat=True))


def ready(campaign):
    return Slate.objects.filter(campaign=campaign, state=SlateState.READY).count()


def claimed(campaign, labeler=None):
    labeler = labeler or make.user()
    make.acknowledge(labeler, campaign)
    return leases.claim(campaign_id=campaign.id, labeler=labeler, now=NOW)


def test_a_slate_has_exactly_the_parts_of_the_mix():
    old, new = make.policy(), make.policy()
    move_to(old)
    move_to(new)
    campaign = campaign_of(1)
    mixed(campaign, current(2), current(1, pointer="previous"), current(1, temperature=1.4, top_p=0.9))
    fill_campaigns()
    sample()
    fill_campaigns()
    rows = Candidate.objects.filter(task__campaign=campaign).select_related("completion__run")
    made = sorted((row.completion.policy_id, row.completion.run.temperature) for row in rows)
    assert made == sorted([(new.id, 1.0), (new.id, 1.0), (old.id, 1.0), (new.id, 1.4)])
    assert [run.seed for run in SampleRun.objects.order_by("id")] == [part_seed(3, place) for place in range(3)]


def test_completions_that_are_there_already_are_not_taken_into_a_mix():
    campaign, policy = campaign_of(1), make.policy()
    prompt = campaign.pool.prompts.get()
    for text in WORDS[:6]:
        make.completion(prompt, policy, text)
    mixed(campaign, share(policy, 4))
    fill_campaigns()
    assert not Task.objects.exists()
    sample()
    fill_campaigns()
    assert set(Candidate.objects.values_list("completion__run", flat=True)) == {SampleRun.objects.get().id}


def test_slates_are_sampled_ahead_between_the_marks():
    campaign = campaign_of(9)
    mixed(campaign, share(make.policy(), 4))
    fill_campaigns()
    assert SampleRequest.objects.count() == HIGH
    sample()
    fill_campaigns()
    assert (ready(campaign), SampleRequest.objects.count()) == (HIGH, HIGH)
    for _ in range(2):
        claimed(campaign)
    fill_campaigns()
    assert (ready(campaign), SampleRequest.objects.count()) == (LOW, HIGH)
    claimed(campaign)
    fill_campaigns()
    # One was left: three more are asked for, in the same run.
    assert (ready(campaign), SampleRequest.objects.count(), SampleRun.objects.count()) == (1, HIGH + 3, 1)
    sample()
    fill_campaigns()
    assert states(campaign) == ["ready"] * HIGH + ["used"] * 3


def test_an_answer_that_others_still_owe_does_not_keep_a_slate_in_store():
    campaign = campaign_of(9, overlap=2)
    mixed(campaign, share(make.policy(), 4))
    fill_campaigns()
    sample()
    fill_campaigns()
    held = claimed(campaign)
    leases.release(assignment_id=held.id, labeler=held.labeler, now=NOW)
    fill_campaigns()
    assert states(campaign) == ["ready"] * 3 + ["used"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [(Order.DEPTH, [0, 1]), (Order.BREADTH, [0, 1]), (Order.PRIORITY, [4, 2]), (Order.RANDOM, None)],
)
def test_the_next_prompts_come_in_the_campaigns_order(order, expected):
    pool = make.pool()
    prompts = [make.prompt(pool, priority={2: 5, 4: 9}.get(number, 0)) for number in range(6)]
    campaign = make.campaign("rankings", over=pool, order=order, order_seed=11)
    mixed(campaign, share(make.policy(), 4), low=2, high=2)
    fill_campaigns()
    asked = list(Slate.objects.order_by("id").values_list("prompt", flat=True))
    if expected is None:
        # As the queue would hand them out.
        other = make.campaign(over=pool, order=order, order_seed=11)
        filling.add_tasks(campaign=other, prompts=pool.prompts.all(), now=NOW)
        expected = list(Assignment.objects.filter(campaign=other).order_by("position").values_list("task__prompt"))
        assert asked == [prompt for (prompt,) in expected[:2]]
    else:
        assert asked == [prompts[number].id for number in expected]


def test_a_prompt_that_comes_later_is_sampled_too():
    campaign = campaign_of(1)
    mixed(campaign, share(make.policy(), 4))
    fill_campaigns()
    sample()
    fill_campaigns()
    make.prompt(campaign.pool)
    fill_campaigns()
    sample()
    fill_campaigns()
    assert ready(campaign) == 2


def test_a_full_store_costs_few_queries_and_an_exhausted_pool_no_search(django_assert_max_num_queries):
    campaign = campaign_of(HIGH)
    mixed(campaign, share(make.policy(), 4))
    for _ in range(2):
        fill_campaigns()
        sample()
    fill_campaigns()
    with django_assert_max_num_queries(12):
        slate_supply.refill(campaign=campaign, now=NOW)
    for _ in range(HIGH):
        claimed(campaign)
    fill_campaigns()
    assert Mix.objects.get().reached == campaign.pool.prompts.order_by("-id").first().id


def test_across_the_parts_a_completion_that_is_alike_is_replaced_and_the_later_part_gives_way():
    one, two = make.policy(), make.policy()
    campaign = campaign_of(1)
    mixed(campaign, share(one, 2), share(two, 2))
    fill_campaigns()
    sample(lambda run, _prompt, k: f"{WORDS[k]} by all" if k < 2 else f"{WORDS[k]} later")
    fill_campaigns()
    requests = list(SampleRequest.objects.order_by("run").values_list("state", "extra"))
    assert requests == [(RequestState.DONE, 0), (RequestState.WAITING, 2)]
    sample(lambda run, _prompt, k: f"{WORDS[k]} later")
    fill_campaigns()
    texts = list(Candidate.objects.order_by("id").values_list("completion__text", flat=True))
    assert texts == ["amber by all", "birch by all", "coral later", "dune later"]


def test_what_stays_alike_is_one_card_and_with_fewer_than_four_there_is_no_slate():
    one, two = make.policy(), make.policy()
    wide, narrow = campaign_of(1), campaign_of(1)
    mixed(wide, share(one, 4), share(two, 2))
    mixed(narrow, share(one, 2), share(two, 2))
    for _ in range(4):
        fill_campaigns()
        # The second policy only ever says what the first has said.
        sample(lambda run, _prompt, k: WORDS[k] if run.policy_id == one.id else WORDS[0])
    fill_campaigns()
    assert Candidate.objects.filter(task__campaign=wide).count() == 4
    assert not Task.objects.filter(campaign=narrow).exists()
    assert slate_queries.slate_counts(narrow).none == [(Why.ALIKE, 1)]
    asked = SampleRequest.objects.get(run__policy=two, run__pool=narrow.pool)
    assert (asked.state, asked.extra) == (RequestState.DONE, 2 * slate_supply.ROUNDS)


def test_nothing_is_asked_for_where_the_worker_has_tried_often_enough_or_no_seed_would_help():
    policy = make.policy()
    tried, greedy = campaign_of(1), campaign_of(1)
    mixed(tried, share(policy, 4))
    mixed(greedy, share(policy, 3), share(policy, 1, temperature=0))
    fill_campaigns()
    sample(lambda run, _prompt, k: "always this" if run.k != 3 else WORDS[k] + " this", attempt=3)
    Completion.objects.filter(run__temperature=0).update(text=f"{WORDS[0]} this", attempt=0)
    fill_campaigns()
    assert states(tried) == states(greedy) == ["none"]


@pytest.mark.parametrize(("allowed", "made"), [(True, 1), (False, 0)])
def test_cut_off_completions_stand_in_a_slate_only_where_they_may(allowed, made):
    campaign = campaign_of(1)
    mixed(campaign, share(make.policy(), 4), cut_off_allowed=allowed)
    fill_campaigns()
    assert SampleRun.objects.get().resample_cut_off is not allowed
    sample(reason=FinishReason.LENGTH, attempt=3)
    fill_campaigns()
    assert ready(campaign) == made
    assert slate_queries.slate_counts(campaign).none == ([] if allowed else [(Why.CUT_OFF, 1)])


def test_a_failing_policy_stops_no_other_and_its_slates_wait_until_it_is_tried_again():
    sound, broken = make.policy(), make.policy()
    campaign = campaign_of(4)
    mixed(campaign, share(sound, 2), share(broken, 2))
    fill_campaigns()
    sample(failing=[broken])
    fill_campaigns()
    assert set(SampleRequest.objects.filter(run__policy=sound).values_list("state", flat=True)) == {RequestState.DONE}
    assert slate_queries.slate_counts(campaign).none == [(Why.FAILED, 4)]
    assert retry_failed(run=SampleRun.objects.get(policy=broken)) == 4
    fill_campaigns()
    sample()
    fill_campaigns()
    assert ready(campaign) == 4


def test_a_mix_that_makes_no_slates_does_not_eat_the_pool_until_somebody_says_go_on():
    campaign, broken = campaign_of(30), make.policy()
    mixed(campaign, share(broken, 4), low=2, high=10)
    for _ in range(5):
        fill_campaigns()
        sample(failing=[broken])
    fill_campaigns()
    assert SampleRequest.objects.count() == slate_queries.FRUITLESS
    mix = Mix.objects.get()
    assert slate_queries.stall(mix, slate_queries.resolved(mix)).fruitless == slate_queries.FRUITLESS
    slate_supply.resume_sampling(campaign=campaign, now=NOW)
    fill_campaigns()
    # First those that have failed, in the run that is there.
    assert SampleRequest.objects.filter(state=RequestState.WAITING).count() == 10
    assert SampleRun.objects.count() == 1
    sample()
    fill_campaigns()
    assert ready(campaign) == 10


def test_a_cancelled_run_stops_the_mix_until_somebody_says_go_on():
    campaign = campaign_of(4)
    mixed(campaign, share(make.policy(), 2), share(make.policy(), 2))
    fill_campaigns()
    first = SampleRun.objects.order_by("id").first()
    runs.cancel(run=first, now=NOW)
    sample()
    fill_campaigns()
    mix = Mix.objects.get()
    assert slate_queries.stall(mix, slate_queries.resolved(mix)).run == first
    assert slate_queries.slate_counts(campaign).none == [(Why.CANCELLED, 4)]
    slate_supply.resume_sampling(campaign=campaign, now=NOW)
    fill_campaigns()
    sample()
    fill_campaigns()
    assert (ready(campaign), SampleRun.objects.count()) == (4, 3)


def test_when_the_pointer_moves_new_slates_are_sampled_from_the_new_policy():
    old, new = make.policy(), make.policy()
    move_to(old)
    campaign = campaign_of(9)
    mixed(campaign, current(4))
    fill_campaigns()
    sample()
    fill_campaigns()
    move_to(new)
    fill_campaigns()
    # Nobody asked to replace what is there.
    assert (ready(campaign), set(SampleRun.objects.values_list("policy", flat=True))) == (4, {old.id})
    for _ in range(3):
        claimed(campaign)
    fill_campaigns()
    assert SampleRequest.objects.filter(run__policy=new).count() == 3


def test_slates_that_nobody_opened_are_replaced_when_the_new_ones_are_there():
    old, new, other = make.policy(), make.policy(), make.policy()
    move_to(old)
    campaign = campaign_of(4, overlap=2)
    mixed(campaign, current(2), share(other, 2), renew=True)
    fill_campaigns()
    sample()
    fill_campaigns()
    held = claimed(campaign)
    move_to(new)
    fill_campaigns()
    # What they share with the others is not sampled again, and they stay open until then.
    assert SampleRequest.objects.filter(state=RequestState.WAITING).count() == 3
    assert Assignment.objects.filter(state=State.OPEN).count() == 7
    sample()
    fill_campaigns()
    retired = Task.objects.exclude(retired_at=None)
    assert set(Assignment.objects.filter(task__in=retired).values_list("state", flat=True)) == {State.CANCELLED}
    live = Candidate.objects.filter(task__retired_at=None)
    by_task = {task: set() for task in Task.objects.filter(retired_at=None).values_list("id", flat=True)}
    for task, policy in live.values_list("task", "completion__policy"):
        by_task[task].add(policy)
    assert by_task.pop(held.task_id) == {old.id, other.id}
    assert list(by_task.values()) == [{new.id, other.id}] * 3
    assert (retired.count(), states(campaign)) == (3, ["ready"] * 3 + ["retired"] * 3 + ["used"])
    fill_campaigns()
    assert (Task.objects.count(), Assignment.objects.filter(state=State.OPEN).count()) == (7, 7)


def test_a_slate_opened_while_its_replacement_was_sampled_stays():
    old, new = make.policy(), make.policy()
    move_to(old)
    campaign = campaign_of(1)
    mixed(campaign, current(4), renew=True)
    fill_campaigns()
    sample()
    fill_campaigns()
    move_to(new)
    fill_campaigns()
    held = claimed(campaign)
    sample()
    fill_campaigns()
    assert Task.objects.get().id == held.task_id
    assert states(campaign) == ["used"]


def test_what_is_still_being_sampled_of_an_old_policy_is_dropped():
    old, new = make.policy(), make.policy()
    move_to(old)
    campaign = campaign_of(3)
    mixed(campaign, current(4), renew=True)
    fill_campaigns()
    move_to(new)
    fill_campaigns()
    assert SampleRun.objects.get(policy=old).state == RunState.CANCELLED
    sample()
    fill_campaigns()
    assert set(Candidate.objects.values_list("completion__policy", flat=True)) == {new.id}
    assert ready(campaign) == 3


def test_a_change_of_the_overlap_gives_retired_tasks_no_slots():
    old, new = make.policy(), make.policy()
    move_to(old)
    campaign = campaign_of(2)
    mixed(campaign, current(4), renew=True)
    fill_campaigns()
    sample()
    fill_campaigns()
    move_to(new)
    fill_campaigns()
    sample()
    fill_campaigns()
    change_campaign(campaign=campaign, overlap=3)
    fill_campaigns()
    assert Assignment.objects.filter(state=State.OPEN).count() == 6
    assert not Assignment.objects.filter(state=State.OPEN, task__retired_at__isnull=False).exists()


@pytest.mark.parametrize(
    ("shares", "part", "words"),
    [
        ([{"count": 3}], None, "The parts add up to 3 completions. A slate has 4 to 9."),
        ([{"count": 9}, {"count": 1}], None, "The parts add up to 10 completions. A slate has 4 to 9."),
        ([{"count": 2}, {"count": 2, "temperature": 0}], 1, str(EQUAL_COMPLETIONS)),
    ],
)
def test_parts_that_make_no_slate_are_refused(shares, part, words):
    policy = make.policy()
    with pytest.raises(BadMix, match=words) as refused:
        mixed(campaign_of(1), *(share(policy, **fields) for fields in shares))
    assert refused.value.part == part
    assert not Mix.objects.exists()


def test_what_cannot_be_sampled_is_refused():
    campaign = campaign_of(1)
    imported = make.policy(origin=Origin.IMPORTED, location="")
    for wrong, words in [
        (share(imported, 4), str(registry.NotSampledHere.message)),
        (current(4), slate_queries.NO_POLICY["current"] % {"stage": "SFT"}),
        (current(4, pointer="previous"), slate_queries.NO_POLICY["previous"] % {"stage": "SFT"}),
    ]:
        with pytest.raises(BadMix, match=words):
            mixed(campaign, wrong)
    with pytest.raises(slate_supply.NoMix):
        slate_supply.resume_sampling(campaign=campaign, now=NOW)
    mixed(campaign, share(make.policy(), 4))
    fill_campaigns()
    change_state(campaign=campaign, to="closed", now=NOW)
    with pytest.raises(slate_supply.MixFixed):
        mixed(campaign)
    versions = MixVersion.objects.count()
    with pytest.raises(slate_supply.MixFixed):
        slate_supply.resume_sampling(campaign=campaign, now=NOW)
    assert MixVersion.objects.count() == versions


def test_two_parts_that_would_sample_the_same_text_are_refused():
    campaign, policy = campaign_of(1), make.policy()
    with pytest.raises(BadMix) as refused:
        mixed(campaign, share(policy, 3), share(policy, 1, temperature=0), share(policy, 1, temperature=0))
    assert (refused.value.part, str(refused.value)) == (2, str(EQUAL_PARTS))
    mixed(campaign, share(policy, 3), share(policy, 1, temperature=0), share(make.policy(), 1, temperature=0))


def at_once(*calls):
    barrier, outcomes = threading.Barrier(len(calls)), []

    def run(call):
        try:
            barrier.wait()
            outcomes.append(call())
        except Exception as error:
            outcomes.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_ask_for_each_prompt_once_and_open_each_slate_once():
    campaign = campaign_of(12)
    mixed(campaign, share(make.policy(), 2), share(make.policy(), 2), low=12, high=12)
    at_once(*[fill_campaigns] * 4)
    assert (SampleRun.objects.count(), SampleRequest.objects.count()) == (2, 24)
    sample()
    at_once(*[fill_campaigns] * 4)
    assert (Task.objects.count(), Candidate.objects.count(), ready(campaign)) == (12, 48, 12)


@pytest.mark.django_db(transaction=True)
def test_claims_that_race_the_replacing_win_or_lose_cleanly():
    old, new = make.policy(), make.policy()
    move_to(old)
    campaign = campaign_of(8, overlap=2)
    mixed(campaign, current(4), renew=True, low=8, high=8)
    fill_campaigns()
    sample()
    fill_campaigns()
    move_to(new)
    fill_campaigns()
    sample()
    labelers = [make.user() for _ in range(4)]
    for labeler in labelers:
        make.acknowledge(labeler, campaign)

    def claim(labeler):
        def call():
            while True:
                try:
                    return leases.claim(campaign_id=campaign.id, labeler=labeler, now=NOW)
                except refusals.Busy:
                    continue

        return call

    outcomes = at_once(*map(claim, labelers), fill_campaigns, fill_campaigns)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    # Whatever a worker passed by because somebody was just claiming it.
    fill_campaigns()
    assert Assignment.objects.filter(state=State.LEASED).count() == 4
    assert not Assignment.objects.filter(task__retired_at__isnull=False).exclude(state=State.CANCELLED).exists()
    assert Task.objects.filter(retired_at=None).count() == 8
    assert Assignment.objects.exclude(state=State.CANCELLED).count() == 16
    # Every live slate is of one policy alone, the new one unless somebody had the old one first.
    for task in Task.objects.filter(retired_at=None):
        policies = set(task.candidates.values_list("completion__policy", flat=True))
        held = task.assignments.filter(state=State.LEASED).exists()
        assert policies == {new.id} or (policies == {old.id} and held)


@pytest.mark.django_db(transaction=True)
def test_a_task_whose_slot_is_locked_for_a_moment_is_not_retired():
    campaign = campaign_of(1, overlap=2)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.all(), now=NOW)
    task = Task.objects.get()
    with transaction.atomic():
        Assignment.objects.select_for_update().filter(slot=2).get()
        [retired] = at_once(lambda: filling.retire_tasks(campaign=campaign, tasks=[task.id], now=NOW))
        assert retired == set()
    assert filling.retire_tasks(campaign=campaign, tasks=[task.id], now=NOW) == {task.id}
    assert filling.retire_tasks(campaign=campaign, tasks=[task.id], now=NOW) == set()
