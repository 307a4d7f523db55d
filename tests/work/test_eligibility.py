"""Who gets which task: languages, qualifications, the daily cap, and nobody their own prompt."""

from datetime import timedelta

import pytest

from annotate.accounts.forms import WorkForm
from annotate.accounts.models import Cohort, Qualification, User
from annotate.pools.actions import add_prompt
from annotate.pools.rules import PromptDraft
from annotate.work import filling, leases, queries, refusals, submitting
from annotate.work.campaigns import change_campaign
from annotate.work.models import Assignment
from annotate.work.states import State
from tests import factories as make
from tests.work.conftest import LATER, NOW
from tests.work.test_races import at_once


def spoken(desk, labeler):
    """The languages of all that the labeler gets, in turn."""
    found = []
    while True:
        try:
            found.append(desk.answer(labeler).language)
        except refusals.NothingLeft:
            return found


@pytest.mark.parametrize(
    ("languages", "gets"),
    [
        ([], ["en", "pt", "pt-BR", "en"]),
        (["en"], ["en", "en"]),
        (["EN"], ["en", "en"]),
        (["pt"], ["pt", "pt-BR"]),
        # A region narrows a language down; what names none is for all its regions.
        (["pt-BR"], ["pt", "pt-BR"]),
        (["por_br"], ["pt", "pt-BR"]),
        (["pt-PT"], ["pt"]),
        (["en-GB"], ["en", "en"]),
        (["pt", "en"], ["en", "pt", "pt-BR", "en"]),
        (["de"], []),
    ],
)
def test_tasks_go_to_those_who_speak_their_language_in_the_campaigns_order(open_desk, languages, gets):
    desk = open_desk(prompts=[{"language": language} for language in ("en", "pt", "pt-BR", "en")])
    assert spoken(desk, desk.labeler(languages=languages)) == gets


@pytest.mark.parametrize(
    ("languages", "gets"), [(["zh-Hant"], ["zh", "zh-Hant"]), (["zh"], ["zh", "zh-Hant", "zh-Hans"]), (["nb"], ["no"])]
)
def test_who_reads_one_script_gets_no_task_in_another(open_desk, languages, gets):
    desk = open_desk(prompts=[{"language": language} for language in ("zh", "zh-Hant", "zh-Hans", "no", "nn")])
    assert spoken(desk, desk.labeler(languages=languages)) == gets


def test_a_tag_of_the_form_prompts_import_finds_the_labeler_of_the_form_on_the_people_page(open_desk):
    desk = open_desk(tasks=0)
    message = {"role": "user", "content": "What is a moor?"}
    add_prompt(pool=desk.campaign.pool, draft=PromptDraft(messages=[message], language="EN"), now=NOW)
    filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)
    form = WorkForm({"languages": "en_gb"})
    assert form.is_valid()
    assert spoken(desk, desk.labeler(languages=form.cleaned_data["languages"])) == ["en"]


def test_what_came_back_goes_first_in_all_languages_alike(open_desk):
    desk = open_desk(prompts=[{"language": language} for language in ("en", "de", "en")], overlap=2)
    english, german = desk.labeler(languages=["en"]), desk.labeler(languages=["de"])
    first, second = desk.claim(german), desk.claim(english)
    desk.release(first, german)
    desk.release(second, english)
    both = desk.labeler(languages=["de", "en"])
    assert [desk.answer(both).id, desk.answer(both).id] == [first.id, second.id]


def test_a_language_learned_later_brings_the_tasks_passed_by(open_desk):
    desk = open_desk(prompts=[{"language": language} for language in ("de", "en")])
    labeler = desk.labeler(languages=["en"])
    assert spoken(desk, labeler) == ["en"]
    User.objects.filter(id=labeler.id).update(languages=["en", "de"])
    labeler.refresh_from_db()
    assert spoken(desk, labeler) == ["de"]


def test_a_language_that_is_new_to_the_campaign_is_found(open_desk):
    desk = open_desk(prompts=[{"language": "en"}])
    labeler = desk.labeler(languages=["en", "de"])
    assert spoken(desk, labeler) == ["en"]
    make.prompt(desk.campaign.pool, language="de")
    filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)
    assert spoken(desk, labeler) == ["de"]


def test_a_new_instruction_is_for_every_language(open_desk):
    desk = open_desk(tasks=0)
    filling.add_task(campaign=desk.campaign, now=NOW)
    assert spoken(desk, desk.labeler(languages=["pt-BR"])) == [""]


def test_all_qualifications_are_needed_named_or_not(open_desk):
    desk = open_desk(tasks=3)
    needed = [Qualification.objects.create(name=name) for name in ("medicine", "law")]
    desk.campaign.qualifications.set(needed)
    half, whole, named = desk.labeler(), desk.labeler(), desk.labeler(cohort=Cohort.HELD_OUT)
    half.qualifications.set(needed[:1])
    whole.qualifications.set(needed)
    assert desk.claim(whole)
    desk.campaign.labelers.set([half, named])
    for labeler in (half, named, desk.labeler()):
        assert desk.campaign not in queries.campaigns_for(labeler)
        with pytest.raises(refusals.NotYours):
            desk.claim(labeler)
    named.qualifications.set(needed)
    assert desk.claim(named)


def test_a_late_submit_needs_the_qualification_still(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    leases.sweep(now=LATER)
    change_campaign(campaign=desk.campaign, qualifications=[Qualification.objects.create(name="medicine")])
    with pytest.raises(refusals.LeaseLost):
        desk.submit(held, labeler, now=LATER)


def test_the_cap_counts_what_is_held_and_ahead_and_what_was_answered_today(open_desk):
    desk = open_desk(tasks=9)
    labeler = desk.labeler(daily_cap=3)
    desk.answer(labeler)
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    desk.submit(work, labeler)
    assert desk.claim(labeler).id == ahead.id
    with pytest.raises(refusals.DailyCap):
        desk.ahead(labeler)
    desk.submit(ahead, labeler)
    with pytest.raises(refusals.DailyCap):
        desk.claim(labeler)
    assert desk.claim(labeler, now=NOW + timedelta(days=1))


def test_the_cap_counts_over_all_campaigns(open_desk):
    first, second = open_desk(tasks=2), open_desk(tasks=2)
    labeler = first.labeler(daily_cap=2)
    make.acknowledge(labeler, second.campaign)
    first.answer(labeler)
    second.claim(labeler)
    with pytest.raises(refusals.DailyCap):
        first.claim(labeler)


def test_what_is_released_skipped_or_undone_does_not_count(open_desk):
    desk = open_desk(tasks=5)
    labeler = desk.labeler(daily_cap=1)
    desk.release(desk.claim(labeler), labeler)
    desk.skip(desk.claim(labeler), labeler)
    answer = desk.answer(labeler)
    desk.undo(answer, labeler)
    desk.release(answer, labeler)
    assert desk.claim(labeler)


def test_a_sent_back_answer_in_work_again_counts_once(open_desk):
    desk = open_desk(tasks=3, review_percent=100)
    labeler = desk.labeler(daily_cap=2)
    answer = desk.answer(labeler)
    desk.send_back(answer)
    submitting.resume(assignment_id=answer.id, labeler=labeler, now=NOW)
    ahead = desk.ahead(labeler)
    desk.submit(answer, labeler)
    assert desk.claim(labeler).id == ahead.id
    with pytest.raises(refusals.DailyCap):
        desk.ahead(labeler)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_claims_in_two_campaigns_at_once_keep_the_cap(open_desk, _round):
    desks = [open_desk(tasks=2) for _ in range(3)]
    labeler = desks[0].labeler(daily_cap=1)
    for desk in desks[1:]:
        make.acknowledge(labeler, desk.campaign)
    outcomes = at_once(*(lambda desk=desk: desk.claim(labeler) for desk in desks))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Assignment", "DailyCap", "DailyCap"]
    assert Assignment.objects.filter(state=State.LEASED).count() == 1


def test_nobody_gets_their_own_prompt_nor_what_others_made_of_it(open_desk):
    desk = open_desk(tasks=0)
    people = [desk.labeler() for _ in range(3)]
    parent = None
    for number, author in enumerate(people):
        draft = PromptDraft(messages=[{"role": "user", "content": f"Say {number} in other words."}])
        parent = add_prompt(pool=desk.campaign.pool, draft=draft, now=NOW, parent=parent, author=author)
    filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.order_by("id"), now=NOW)
    # The first had a hand in all three, the last in the last alone.
    assert [len(spoken(desk, labeler)) for labeler in people] == [0, 1, 1]
    assert len(spoken(desk, desk.labeler())) == 1
