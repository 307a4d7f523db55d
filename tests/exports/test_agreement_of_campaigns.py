"""Which rankings are compared with which."""

import pytest

from annotate.guidelines.models import GuidelineVersion
from annotate.work.states import State
from exports import queries
from exports.agreement.pairs import TieRule
from exports.agreement.queries import Covered, ranked, report
from exports.rows import rankings
from tests import factories as make
from tests.exports import answers


@pytest.fixture
def slate(day):
    return day.slate(day.prompt("Name a colour."), "ABCD")


def measured(day, rule=TieRule.EXCLUDE, covered=Covered.EXPORTED):
    return {cut.name: cut.agreement for cut in report(campaign=day.rankings, rule=rule, covered=covered).cuts}


def test_by_default_the_rankings_that_an_export_contains_are_compared_and_no_others(day, export):
    """Five people of each kind rank five prompts; one of these a held-out labeler wrote."""
    kinds = [
        {"person": day.labeler},
        {"person": make.user()},
        {"person": make.user(), "state": State.SUBMITTED},
        {"person": make.user(), "state": State.SENT_BACK},
        {"person": day.held_out},
    ]
    prompts = [day.prompt(f"Prompt {number}.") for number in range(4)]
    prompts.append(day.prompt("Written by a held-out labeler.", author=day.held_out))
    for prompt in prompts:
        slate = day.slate(prompt, "ABCD")
        for kind in kinds:
            answers.ranking(slate, kind["person"], [1, 2, 3, 4], state=kind.get("state", State.ACCEPTED))
    export()
    exported = rankings.answers(exported=queries.training_answers([day.rankings]))
    compared = {(one.answer.task, one.answer.labeler) for one in ranked(day.rankings)}
    assert compared == {(ranking.assignment.task_id, ranking.assignment.labeler_id) for ranking in exported}
    assert len(compared) == 4 * 2


def test_submitted_rankings_are_compared_if_one_asks_for_all(day, slate):
    answers.ranking(slate, day.labeler, [1, 2, 3, 4])
    answers.ranking(slate, make.user(), [1, 2, 4, 3], state=State.SUBMITTED)
    assert measured(day)["All labelers"].micro.value is None
    assert measured(day, covered=Covered.ALL)["All labelers"].micro.value == pytest.approx(5 / 6)


@pytest.mark.parametrize("covered", Covered)
@pytest.mark.parametrize("state", [State.SENT_BACK, State.LEASED])
def test_rankings_that_are_being_redone_are_not(day, slate, state, covered):
    answers.ranking(slate, day.labeler, [1, 2, 3, 4])
    answers.ranking(slate, make.user(), [4, 3, 2, 1], state=state)
    assert list(ranked(day.rankings, covered)) == []


def test_the_ranks_are_of_the_same_completions_whatever_the_order_shown(day, slate):
    answers.ranking(slate, day.labeler, [1, 2, 3, 4], shown=[3, 2, 1, 0])
    answers.ranking(slate, make.user(), [1, 2, 3, 4], shown=[1, 0, 3, 2])
    assert measured(day)["All labelers"].micro.value == 1


def test_cohorts_are_measured_apart_and_together(day, slate):
    held_out = [day.held_out, make.user(cohort="held_out")]
    training = [day.labeler, make.user()]
    for person in held_out:
        answers.ranking(slate, person, [4, 3, 2, 1])
    for person in training:
        answers.ranking(slate, person, [1, 2, 3, 4])
    found = measured(day, covered=Covered.ALL)
    assert found["Cohort: Training"].micro.value == found["Cohort: Held out"].micro.value == 1
    # 2 comparisons within the cohorts agree on all pairs, 4 across them on none.
    assert found["All labelers"].micro.value == pytest.approx(2 / 6)
    for covered in (Covered.EXPORTED, Covered.HELD_OUT):
        (alone,) = measured(day, covered=covered).values()
        assert (alone.comparisons, alone.micro.value) == (1, 1)


def test_guideline_versions_are_measured_apart(day):
    guideline = day.rankings.guideline
    author = guideline.versions.get().created_by

    def ranked_by_two(text, second):
        slate = day.slate(day.prompt(text), "ABCD")
        answers.ranking(slate, day.labeler, [1, 2, 3, 4])
        answers.ranking(slate, make.user(), second)

    ranked_by_two("under version 1", [4, 3, 2, 1])
    GuidelineVersion.objects.create(
        guideline=guideline, number=2, body="Better.", created_by=author, created_at=make.NOW, published_at=make.NOW
    )
    ranked_by_two("under version 2", [1, 2, 3, 4])
    found = measured(day)
    assert found["Guideline version 1"].micro.value == 0
    assert found["Guideline version 2"].micro.value == 1
    assert found["All labelers"].micro.value == pytest.approx(1 / 2)


def test_two_labelers_are_named_and_compared(day, slate):
    other = make.user(first_name="Grace", last_name="Hopper")
    answers.ranking(slate, day.labeler, [1, 2, 3, 4])
    answers.ranking(slate, other, [1, 2, 3, 4])
    ((first, second, pair),) = report(campaign=day.rankings, rule=TieRule.EXCLUDE).labeler_pairs
    assert (first, second, pair.prompts) == ("ada", "Grace Hopper", 1)


def test_other_campaigns_do_not_count(day, slate):
    answers.ranking(slate, day.labeler, [1, 2, 3, 4])
    other = make.campaign("rankings", over=day.pool)
    prompt = day.prompt("Another.")
    policy = make.policy()
    elsewhere = answers.slate(other, prompt, [make.completion(prompt, policy) for _ in range(4)])
    for person in (day.labeler, make.user()):
        answers.ranking(elsewhere, person, [1, 2, 3, 4])
    assert measured(day)["All labelers"].comparisons == 0


def test_the_cost_does_not_grow_with_the_rankings(day, django_assert_num_queries):
    other = make.user()

    def rank_twice():
        slate = day.slate(day.prompt(f"Prompt {day.pool.prompts.count()}"), "ABCD")
        for person in (day.labeler, other):
            answers.ranking(slate, person, [1, 2, 3, 4])

    for _ in range(2):
        rank_twice()
        with django_assert_num_queries(2):
            report(campaign=day.rankings, rule=TieRule.HALF)


def nothing(day, covered=Covered.EXPORTED):
    return report(campaign=day.rankings, rule=TieRule.EXCLUDE, covered=covered).nothing


def test_a_campaign_without_anything_to_compare_says_what_is_the_matter(day, slate):
    day.rankings.overlap = 2
    assert nothing(day) == "“rankings of today” has no rankings yet."
    answers.ranking(slate, day.labeler, [1, 2, 3, 4], state=State.SUBMITTED)
    assert "not those that you chose (those that an export contains)" in nothing(day)
    assert "have ranked the same completions" in nothing(day, Covered.ALL)
    answers.ranking(slate, make.user(), [1, 2, 3, 4], state=State.SUBMITTED)
    assert nothing(day, Covered.ALL) == ""
    day.rankings.opened_at, day.rankings.state = None, "draft"
    assert nothing(day) == queries.unanswered(day.rankings)
    assert "is a draft" in nothing(day)


def test_one_answer_per_task_can_never_be_compared(day, slate):
    answers.ranking(slate, day.labeler, [1, 2, 3, 4])
    assert "answers per task to two or more" in nothing(day)
