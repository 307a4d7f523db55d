"""What a labeler has done, to look up."""

import pytest
from django.db import transaction

from annotate.instructions.actions import add_briefs
from annotate.pools.models import Kind
from annotate.work import refusals, review
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment
from annotate.work.review import accept, replace_sent_back
from annotate.work.states import CampaignState, State
from tests import factories as make
from tests.desk.conftest import NOW, marks


def send_back(assignment, comment="Shorter, please"):
    with transaction.atomic():
        review.send_back(assignment_id=assignment.id, reviewer=make.user("reviewer"), comment=comment, now=NOW)


def test_my_answers_are_listed_newest_first_and_nobody_elses(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me, other = labeler(campaign), labeler(campaign)
    mine = [me.take(campaign)]
    me.submit(mine[0], text="One", then="stop")
    other.submit(other.take(campaign), text="Not mine", then="stop")
    mine.append(me.take(campaign))
    me.submit(mine[1], text="Two", then="stop")
    assert [row.id for row in me.get("answers").context["page"]] == [mine[1].id, mine[0].id]


def test_a_long_history_comes_in_pages(labeler, demonstrations):
    campaign = demonstrations(prompts=27)
    me = labeler(campaign)
    for _ in range(27):
        me.submit(me.take(campaign), text="An answer", then="stop")
    assert len(me.get("answers").context["page"]) == 25
    assert len(me.get("answers", page=2).context["page"]) == 2


def test_a_new_instruction_is_found_by_its_own_words(labeler, instructions):
    campaign = instructions(prompts=0)
    add_briefs(campaign=campaign, kind=Kind.PLAIN, count=1, now=NOW)
    me = labeler(campaign)
    me.submit(me.take(campaign), text="Describe an old house.", category="generation", then="stop")
    assert "Describe an old house." in me.get("answers").content.decode()


@pytest.mark.parametrize("answers", [1, 3])
def test_the_queries_do_not_grow_with_the_answers(labeler, demonstrations, django_assert_num_queries, answers):
    campaign = demonstrations(prompts=answers)
    me = labeler(campaign)
    for _ in range(answers):
        me.submit(me.take(campaign), text="An answer")
    me.get("answers")
    # Session, user, count, rows.
    with django_assert_num_queries(4):
        me.get("answers")


def test_nothing_done_yet_says_so(labeler):
    assert 'data-fact="no-answer"' in labeler().get("answers").content.decode()


def test_my_answer_stands_beside_its_prompt_with_the_guideline_it_was_made_under(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="My **answer**")
    page = me.get("answer", held.id).content.decode()
    assert held.task.prompt.text in page
    assert "My <strong>answer</strong>" in page
    assert f"Written under {campaign.guideline.name}, version 1." in page


def test_a_sent_back_answer_shows_the_comment_and_can_be_taken_up(labeler, demonstrations):
    campaign = demonstrations(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Long")
    assert "resume" not in me.get("answer", held.id).content.decode()
    send_back(held)
    page = me.get("answer", held.id).content.decode()
    assert "Shorter, please" in page
    assert f"/desk/tasks/{held.id}/resume/" in page


def test_in_a_closed_campaign_it_is_only_to_be_read(labeler, demonstrations):
    campaign = demonstrations(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Long")
    send_back(held)
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=NOW)
    page = me.get("answer", held.id).content.decode()
    assert "Shorter, please" in page
    assert "resume" not in page


def test_what_i_hold_is_no_answer_yet(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    assert me.get("answer", me.take(campaign).id).status_code == 404


def test_an_answer_i_gave_up_stays_to_be_read(labeler, demonstrations):
    campaign = demonstrations(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Long")
    send_back(held)
    me.post("resume", held.id)
    me.post("skip", held.id, data={"skip-sent": "1", "skip-reason": "unclear"})
    assert "Long" in me.get("answer", held.id).content.decode()


@pytest.mark.parametrize(
    ("why", "refusal"),
    [
        ("replaced", refusals.Replaced),
        ("given up", refusals.GivenUp),
        ("submitted again", refusals.NotSentBack),
        ("accepted", refusals.NotSentBack),
    ],
)
def test_an_answer_that_cannot_be_written_again_says_why(labeler, demonstrations, why, refusal):
    campaign = demonstrations(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Long")
    send_back(held)
    if why == "replaced":
        replace_sent_back(assignment_id=held.id, by=make.user("manager"), now=NOW)
    else:
        me.post("resume", held.id)
    if why == "given up":
        me.post("skip", held.id, data={"skip-sent": "1", "skip-reason": "unclear"})
    elif why != "replaced":
        me.submit(held, text="Short", then="stop")
    if why == "accepted":
        with transaction.atomic():
            accept(assignment_id=held.id, reviewer=make.user("reviewer"), comment="", now=NOW)
    me.get("home")
    before = Assignment.objects.values().get(id=held.id)
    page = me.post("resume", held.id, follow=True).content.decode()
    assert str(refusal.message) in page
    assert Assignment.objects.values().get(id=held.id) == before


def test_nobody_takes_up_an_answer_of_somebody_else_who_got_the_task_after_them(labeler, demonstrations):
    campaign = demonstrations(review_percent=100)
    earlier, writer = labeler(campaign), labeler(campaign)
    held = earlier.take(campaign)
    earlier.post("release", held.id)
    writer.submit(writer.take(campaign), text="Long")
    send_back(held)
    earlier.post("resume", held.id)
    assert Assignment.objects.get(id=held.id).state == State.SENT_BACK


@pytest.mark.parametrize(("kind", "data"), [("rankings", marks(4)), ("demonstrations", {"text": "x"})])
def test_every_kind_of_answer_can_be_read(request, labeler, kind, data):
    campaign = request.getfixturevalue(kind)()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **data)
    assert me.get("answer", held.id).status_code == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "Nothing is written yet."), ("**a**", "<strong>a</strong>"), ("<b>a</b>", "&lt;b&gt;a&lt;/b&gt;")],
)
def test_a_preview_is_the_text_as_others_will_see_it(labeler, text, shown):
    part = labeler().post("preview", data={"text": text}).content.decode()
    assert shown in part
    assert "<html" not in part


def test_a_preview_of_a_novel_is_its_beginning(labeler):
    assert len(labeler().post("preview", data={"text": "a " * 500_000}).content) < 300_000
