"""When a ranking task opens, and with which candidates."""

import threading
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from annotate.pools.models import ImportJob, ImportKind, ImportState
from annotate.rankings import actions
from annotate.rankings.actions import open_slates
from annotate.rankings.models import Candidate, Slate
from annotate.rankings.states import SlateState, Why
from annotate.samples.models import Completion, FinishReason, SampleRequest, SampleRun
from annotate.samples.states import RequestState
from annotate.work.models import Task
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = make.NOW


@pytest.fixture
def pool():
    return make.pool()


def campaign(pool, *policies, **fields):
    row = make.campaign("rankings", over=pool, **fields)
    row.rankingsettings.policies.set(policies)
    return row


def written(prompt, policy, *texts):
    return [make.completion(prompt, policy, text) for text in texts]


def requested(prompt, policy, state):
    run = SampleRun.objects.create(pool=prompt.pool, policy=policy, k=4, seed=1, created_at=NOW)
    leased = NOW + timedelta(minutes=5) if state == RequestState.LEASED else None
    return SampleRequest.objects.create(run=run, prompt=prompt, state=state, leased_until=leased)


def test_a_slate_opens_when_enough_different_texts_are_there(pool):
    prompt, policy = make.prompt(pool), make.policy()
    over = campaign(pool, slate_min=4)
    written(prompt, policy, "a", "b", "c")
    assert open_slates(campaign=over, now=NOW) == 0
    written(prompt, policy, "d")
    assert open_slates(campaign=over, now=NOW) == 1
    assert Candidate.objects.filter(task__prompt=prompt).count() == 4
    assert open_slates(campaign=over, now=NOW) == 0


def test_equal_texts_count_once_and_only_one_of_them_stands_in_the_slate(pool):
    prompt, one, other = make.prompt(pool), make.policy(), make.policy()
    over = campaign(pool)
    written(prompt, one, "a", "b", "c")
    written(prompt, other, "a", "b", "c")
    assert open_slates(campaign=over, now=NOW) == 0
    written(prompt, one, "d")
    assert open_slates(campaign=over, now=NOW) == 1
    texts = Candidate.objects.values_list("completion__text", flat=True)
    assert sorted(texts) == ["a", "b", "c", "d"]


CODE = "for i in range(1, 4):\n    print(i)"


@pytest.mark.parametrize(
    "texts",
    [
        ["x²", "x2", "x₂", "x times x"],
        [CODE, CODE.replace("    ", ""), CODE.replace("    ", "\t"), "    " + CODE.replace("\n", "\n    ")],
        ["1½", "11⁄2", "H₂O", "H2O", "2⁵", "25"],
        ["one", "two", "three", ""],
    ],
)
def test_texts_that_differ_in_a_superscript_or_in_indentation_all_stand_in_the_slate(pool, texts):
    prompt, policy = make.prompt(pool), make.policy()
    written(prompt, policy, *texts)
    assert open_slates(campaign=campaign(pool, slate_min=4), now=NOW) == 1
    assert set(Candidate.objects.values_list("completion__text", flat=True)) == set(texts)


def test_a_prompt_judged_by_the_former_measure_is_judged_again_after_the_migration(pool):
    prompt, over = make.prompt(pool), campaign(pool)
    written(prompt, make.policy(), "x²", "x2", "x₂", "y")
    Slate.objects.create(campaign=over, prompt=prompt, state=SlateState.NONE, why=Why.ALIKE, texts=4)
    assert open_slates(campaign=over, now=NOW) == 0
    with connection.schema_editor() as editor:
        import_module("annotate.rankings.migrations.0002_judge_by_exact_texts").forget(apps, editor)
    assert open_slates(campaign=over, now=NOW) == 1
    assert Candidate.objects.count() == 4


@pytest.mark.parametrize("k", range(4, 10))
def test_a_slate_takes_all_there_is_up_to_the_most(pool, k):
    prompt = make.prompt(pool)
    written(prompt, make.policy(), *(f"text {number}" for number in range(k)))
    open_slates(campaign=campaign(pool), now=NOW)
    assert Candidate.objects.count() == k


def test_more_than_the_most_are_left_out_evenly(pool):
    prompt = make.prompt(pool)
    policies = [make.policy() for _ in range(3)]
    for policy in policies:
        written(prompt, policy, *(f"{policy.name} {number}" for number in range(5)))
    open_slates(campaign=campaign(pool, slate_max=6), now=NOW)
    by_policy = [Candidate.objects.filter(completion__policy=policy).count() for policy in policies]
    assert by_policy == [2, 2, 2]


def test_k_is_the_tasks_own(pool):
    policy = make.policy()
    written(make.prompt(pool), policy, *"abcd")
    written(make.prompt(pool), policy, *"abcdefg")
    open_slates(campaign=campaign(pool), now=NOW)
    assert [task.candidates.count() for task in Task.objects.order_by("id")] == [4, 7]


def test_only_the_named_policies_are_ranked(pool):
    prompt, named, other = make.prompt(pool), make.policy(), make.policy()
    written(prompt, other, *"abcdef")
    over = campaign(pool, named)
    assert open_slates(campaign=over, now=NOW) == 0
    written(prompt, named, *"ghij")
    assert open_slates(campaign=over, now=NOW) == 1
    assert set(Candidate.objects.values_list("completion__policy", flat=True)) == {named.id}


@pytest.mark.parametrize("state", [RequestState.WAITING, RequestState.LEASED])
def test_a_slate_waits_for_what_is_being_sampled(pool, state):
    prompt, policy = make.prompt(pool), make.policy()
    written(prompt, policy, *"abcd")
    request = requested(prompt, policy, state)
    over = campaign(pool, policy)
    assert open_slates(campaign=over, now=NOW) == 0
    SampleRequest.objects.filter(id=request.id).update(state=RequestState.DONE, leased_until=None)
    assert open_slates(campaign=over, now=NOW) == 1


@pytest.mark.parametrize("state", [RequestState.DONE, RequestState.FAILED, RequestState.CANCELLED])
def test_a_slate_does_not_wait_for_what_will_not_come(pool, state):
    prompt, policy = make.prompt(pool), make.policy()
    written(prompt, policy, *"abcd")
    requested(prompt, policy, state)
    assert open_slates(campaign=campaign(pool), now=NOW) == 1


def test_a_slate_does_not_wait_for_policies_that_the_campaign_does_not_rank(pool):
    prompt, ranked, other = make.prompt(pool), make.policy(), make.policy()
    written(prompt, ranked, *"abcd")
    requested(prompt, other, RequestState.WAITING)
    assert open_slates(campaign=campaign(pool, ranked), now=NOW) == 1


@pytest.mark.parametrize(
    ("kind", "state", "opened"),
    [
        (ImportKind.COMPLETIONS, ImportState.RUNNING, 0),
        (ImportKind.COMPLETIONS, ImportState.ASKING, 0),
        (ImportKind.COMPLETIONS, ImportState.CANCELLED, 1),
        (ImportKind.COMPLETIONS, ImportState.WAITING, 0),
        (ImportKind.COMPLETIONS, ImportState.DONE, 1),
        (ImportKind.COMPLETIONS, ImportState.FAILED, 1),
        (ImportKind.PROMPTS, ImportState.RUNNING, 1),
    ],
)
def test_slates_wait_for_an_import_of_completions(pool, kind, state, opened):
    written(make.prompt(pool), make.policy(), *"abcd")
    columns = {
        ImportState.RUNNING: {"leased_until": NOW + timedelta(minutes=5)},
        ImportState.DONE: {"finished_at": NOW},
        ImportState.FAILED: {"finished_at": NOW},
        ImportState.CANCELLED: {"finished_at": NOW},
    }
    ImportJob.objects.create(
        pool=pool, kind=kind, state=state, file_name="x.jsonl", created_at=NOW, **columns.get(state, {})
    )
    assert open_slates(campaign=campaign(pool), now=NOW) == opened


def test_completions_of_another_pools_prompts_open_nothing(pool):
    written(make.prompt(make.pool()), make.policy(), *"abcd")
    assert open_slates(campaign=campaign(pool), now=NOW) == 0


def test_a_call_opens_a_bounded_number_and_the_next_goes_on(pool, monkeypatch):
    monkeypatch.setattr(actions, "FILL_BATCH", 2)
    policy = make.policy()
    for _ in range(3):
        written(make.prompt(pool), policy, *"abcd")
    over = campaign(pool)
    assert [open_slates(campaign=over, now=NOW) for _ in range(3)] == [2, 1, 0]


def test_a_later_completion_does_not_change_an_open_slate(pool):
    prompt, policy = make.prompt(pool), make.policy()
    written(prompt, policy, *"abcd")
    over = campaign(pool)
    open_slates(campaign=over, now=NOW)
    written(prompt, policy, "e")
    assert open_slates(campaign=over, now=NOW) == 0
    assert Candidate.objects.count() == 4


def test_two_policies_of_two_campaigns_have_slates_of_their_own(pool):
    prompt, one, other = make.prompt(pool), make.policy(), make.policy()
    written(prompt, one, *"abcd")
    written(prompt, other, *"efgh")
    assert open_slates(campaign=campaign(pool, one), now=NOW) == 1
    assert open_slates(campaign=campaign(pool, other), now=NOW) == 1


def test_opening_slates_takes_the_same_queries_for_one_prompt_and_for_three(pool, django_assert_num_queries):
    policy = make.policy()
    over = campaign(pool, languages=["en"])
    for prompts in (1, 3):
        for _ in range(prompts):
            written(make.prompt(pool), policy, *"abcd")
        with django_assert_num_queries(15):
            assert open_slates(campaign=over, now=NOW) == prompts


def test_a_cut_off_completion_may_be_ranked(pool):
    prompt = make.prompt(pool)
    written(prompt, make.policy(), *"abcd")
    Completion.objects.filter(text="a").update(finish_reason=FinishReason.LENGTH)
    assert open_slates(campaign=campaign(pool), now=NOW) == 1
    assert Candidate.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_open_each_slate_once(pool):
    policy = make.policy()
    for _ in range(20):
        written(make.prompt(pool), policy, *"abcd")
    over = campaign(pool)
    made, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        made.append(open_slates(campaign=over, now=NOW))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 20
    assert Candidate.objects.count() == 80
