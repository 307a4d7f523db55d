"""No response tells a labeler which of their answers a reviewer reads, until that reviewer has decided."""

import re
from importlib import import_module
from uuid import UUID

import pytest
from django.apps import apps
from django.db import transaction
from django.utils import timezone

from annotate.guidelines.models import Guideline
from annotate.instructions.actions import accept as accept_instruction
from annotate.instructions.actions import become_prompt, sweep
from annotate.instructions.models import Instruction
from annotate.pools.actions import add_prompt
from annotate.pools.models import Pool
from annotate.pools.rules import PromptDraft
from annotate.rankings.models import Showing
from annotate.work import filling
from annotate.work.campaigns import change_campaign, change_state
from annotate.work.models import Assignment, Campaign
from annotate.work.review import accept
from annotate.work.states import State
from tests import factories as make
from tests.desk.conftest import make_prompts, marks, undo_of

migration = import_module("annotate.instructions.migrations.0004_settle_instructions")
INSTRUCTION = {"text": "Write about two frogs.", "category": "generation", "reasons": ["unclear"], "note": ""}
FORMS = {
    "demonstrations": {"text": "An answer."},
    "rankings": marks(4),
    "instructions": INSTRUCTION | {"text": "Write about three frogs."},
    # It equals a prompt of the pool. Not reviewed, it is refused by the pool, and that must not show either.
    "instructions, equal to a prompt": INSTRUCTION,
}
EQUAL = PromptDraft(messages=[{"role": "user", "content": "Write about two frogs."}])
DRAWN, NOT_DRAWN = 100, 0

# What differs between two people and two moments, and says nothing about the draw.
VARIABLE = (
    (re.compile(r'(name="csrfmiddlewaretoken" value="|"X-CSRFToken": ")\w+'), r"\1"),
    (re.compile(r"(csrftoken=|sessionid=|messages=)[^;]+"), r"\1"),
    (re.compile(r"(tasks/|answers/|campaigns/|campaign-|assignment-?)\d+"), r"\1"),
    (re.compile(r'(data-person=")\d+'), r"\1"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "uuid"),
    (re.compile(r"<time [^>]*>[^<]*</time>"), "time"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+\d\d:\d\d)"), "time"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT"), "time"),
)


def comparable(text):
    for pattern, put in VARIABLE:
        text = pattern.sub(put, text)
    return text


def seen(me, response):
    """The whole of a response, in a form in which two people's can be compared."""
    cookies = {name: comparable(morsel.OutputString()) for name, morsel in response.cookies.items()}
    headers = {name: comparable(value) for name, value in response.headers.items() if name != "Content-Length"}
    body = comparable(response.content.decode().replace(me.user.username, "me"))
    return response.status_code, headers, cookies, body


@pytest.fixture(params=FORMS)
def twins(request, labeler):
    """twins(): two labelers who submit the same answer to the same prompt; only the first one's is drawn for review.

    Each comes with the assignment, the form, its submit key and the responses to the submit.
    """

    def both_submit(**fields):
        kind, _comma, equal = request.param.partition(", ")
        campaign = request.getfixturevalue(kind)(overlap=2, **fields)
        if equal:
            add_prompt(pool=campaign.instructionsettings.target_pool, draft=EQUAL, now=make.NOW)
        people = [(me, me.take(campaign)) for me in (labeler(campaign), labeler(campaign))]
        for me, held in people:
            me.get("task", held.id)
        # The order of the candidates is a labeler's own. Here it must not make a difference.
        Showing.objects.update(order=Showing.objects.values_list("order", flat=True).first())
        found = []
        for (me, held), percent in zip(people, (DRAWN, NOT_DRAWN), strict=True):
            change_campaign(campaign=campaign, review_percent=percent)
            key, form = UUID(int=me.user.id), dict(FORMS[request.param])
            submitted = seen(me, me.submit_by_script(held, key=key, **form))
            found.append((me, held, form, key, [submitted]))
        states = [Assignment.objects.get(id=held.id).state for _me, held, *_ in found]
        assert states == [State.SUBMITTED, State.ACCEPTED]
        return found

    return both_submit


def tour(me, held, form, key):
    """Everything that a labeler can ask the desk about an answer that they have submitted."""
    own = held.id
    yield "home", me.get("home")
    yield "answers", me.get("answers")
    yield "second page", me.get("answers", page=2)
    yield "answer", me.get("answer", own)
    yield "task", me.get("task", own)
    yield "the same submit", me.submit(held, key=key, **form)
    yield "the same submit by script", me.submit_by_script(held, key=key, **form)
    yield "another submit", me.submit(held, **form)
    yield "another submit by script", me.submit_by_script(held, **form)
    yield "draft", me.save(held, text="More")
    yield "renew", me.post("renew", own)
    yield "skip", me.post("skip", own)
    yield "skip with a reason", me.post("skip", own, data={"skip-sent": "1", "skip-reason": "unclear"})
    yield "release", me.post("release", own, data=form)
    yield "resume", me.post("resume", own)
    yield "compare", me.post("compare", own, data=form)
    yield "preview", me.post("preview", data=form)
    yield "guideline", me.get("guideline", held.campaign_id)
    yield "ahead", me.post("ahead", held.campaign_id)
    yield "next", me.post("next", held.campaign_id)
    yield "home with all messages", me.get("home")
    yield "undo", me.post("undo", own)
    yield "home after undo", me.get("home")
    yield "answers after undo", me.get("answers")
    yield "task after undo", me.get("task", own)
    yield "submit and stop", me.submit(held, then="stop", **form)
    yield "home at the end", me.get("home")


@pytest.mark.parametrize("window", ["open", "over", "none", "closed campaign"])
def test_every_response_about_a_drawn_answer_is_the_one_about_an_answer_that_is_not_drawn(twins, window):
    pair = twins(undo_minutes=0 if window == "none" else 5)
    if window == "over":
        Assignment.objects.exclude(submitted_at=None).update(submitted_at=timezone.now() - 6 * make.MINUTE)
        make_prompts()
    elif window == "closed campaign":
        campaign = pair[0][1].campaign
        campaign.refresh_from_db()
        change_state(campaign=campaign, to="closed", now=timezone.now())
    drawn, other = (
        [("submit", submitted[0]), *((name, seen(me, response)) for name, response in tour(me, held, form, key))]
        for me, held, form, key, submitted in pair
    )
    for one, two in zip(drawn, other, strict=True):
        assert one == two


@pytest.mark.parametrize("kind", ["demonstrations", "rankings", "instructions"])
def test_a_colleague_is_shown_nothing_of_the_draw(request, labeler, kind):
    """Two campaigns that differ in the draw alone: what another labeler gets there while the undo is possible."""
    texts = {"texts": ("one", "two", "three", "four")} if kind == "rankings" else {}
    found = []
    for percent in (DRAWN, NOT_DRAWN):
        fields = {"overlap": 2, "name": "The same", "review_percent": percent, "prompts": 2}
        campaign = request.getfixturevalue(kind)(**fields, **texts)
        make_equal(campaign)
        me, colleague = labeler(campaign, first_name="Ada"), labeler(campaign, first_name="Ben")
        me.submit(me.take(campaign), **FORMS[kind])
        sweep(now=timezone.now())
        held = colleague.take(campaign)
        colleague.get("task", held.id)
        for showing in Showing.objects.filter(task__campaign=campaign):
            Showing.objects.filter(id=showing.id).update(order=sorted(showing.order))
        found.append([seen(colleague, response) for response in work_of(colleague, held, FORMS[kind])])
        # Names are unique, and the next two do not see this campaign.
        Campaign.objects.filter(id=campaign.id).update(name=f"Drawn by {percent} %", state="paused")
        Guideline.objects.filter(campaigns=campaign).update(name=f"Drawn by {percent} %")
    assert len(found[0]) > 8
    for one, two in zip(*found, strict=True):
        assert one == two


def make_equal(campaign):
    """The factories number prompts and guidelines."""
    for number, prompt in enumerate(campaign.pool.prompts.order_by("id"), start=1):
        words = {"text": f"Prompt {number}", "messages": [{"role": "user", "content": f"Prompt {number}"}]}
        campaign.pool.prompts.filter(id=prompt.id).update(**words)
    Guideline.objects.filter(campaigns=campaign).update(name="The guideline")


def work_of(colleague, held, form):
    yield colleague.get("home")
    yield colleague.get("task", held.id)
    yield colleague.get("guideline", held.campaign_id)
    yield colleague.post("ahead", held.campaign_id)
    yield colleague.submit_by_script(held, **form)
    yield colleague.get("answers")
    yield colleague.get("answer", held.id)
    yield colleague.post("next", held.campaign_id)
    yield colleague.get("home")
    yield colleague.post("undo", held.id)
    yield colleague.get("task", held.id)


def test_the_undo_is_offered_alike_and_works_alike(twins):
    pair = twins()
    # Whatever builds on a prompt has had its chance: an instruction is none yet.
    sweep(now=timezone.now())
    for pool in Pool.objects.all():
        filling.add_tasks(campaign=make.campaign(over=pool), prompts=pool.prompts.all(), now=make.NOW)
    for me, held, *_ in pair:
        assert undo_of(held) in me.get("answer", held.id).content.decode()
        me.post("undo", held.id)
        assert Assignment.objects.get(id=held.id).state == State.LEASED


@pytest.mark.parametrize("percent", [DRAWN, NOT_DRAWN])
@pytest.mark.parametrize("lowered", [False, True])
def test_more_minutes_bring_the_undo_back_for_neither(labeler, instructions, percent, lowered):
    """In a campaign of its own: an answer that is not drawn must not hide what happens to one that is."""
    campaign = instructions(review_percent=percent, undo_minutes=30 if lowered else 5)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **INSTRUCTION)
    Assignment.objects.filter(id=held.id).update(submitted_at=timezone.now() - 6 * make.MINUTE)
    change_campaign(campaign=campaign, undo_minutes=5)
    sweep(now=timezone.now())
    change_campaign(campaign=campaign, undo_minutes=60)
    assert undo_of(held) not in me.get("answer", held.id).content.decode()
    me.post("undo", held.id)
    assert Assignment.objects.get(id=held.id).state != State.LEASED


@pytest.mark.parametrize("percent", [DRAWN, NOT_DRAWN])
def test_an_answer_from_before_an_upgrade_is_taken_back_neither_drawn_nor_undrawn(labeler, instructions, percent):
    campaign = instructions(review_percent=percent, prompts=2)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **INSTRUCTION)
    if percent == NOT_DRAWN:
        # Earlier versions did so at the submit.
        become_prompt(instruction=Instruction.objects.get(), now=timezone.now())
    # The workflow had another name then.
    Campaign.objects.update(workflow="edits")
    migration.settle(apps, None)
    Campaign.objects.update(workflow="instructions")
    assert undo_of(held) not in me.get("answer", held.id).content.decode()
    me.post("undo", held.id)
    assert Assignment.objects.get(id=held.id).state != State.LEASED
    # Whatever is submitted from now on has its minutes.
    later = me.take(campaign)
    me.submit(later, **INSTRUCTION | {"text": "Write about a toad."})
    assert undo_of(later) in me.get("answer", later.id).content.decode()


def test_a_verdict_shows_and_an_answer_without_one_stays_submitted(twins):
    (drawn_by, drawn, *_), (other, not_drawn, *_) = twins()
    with transaction.atomic():
        accept(assignment_id=drawn.id, reviewer=make.user("reviewer"), comment="", now=timezone.now())
    assert badge(drawn_by, drawn) == [("accepted", "Accepted")]
    assert badge(other, not_drawn) == [("submitted", "Submitted")]


def test_why_an_instruction_became_no_prompt_shows_with_the_verdict(labeler, instructions):
    campaign, form = instructions(review_percent=100), INSTRUCTION
    add_prompt(pool=campaign.instructionsettings.target_pool, draft=EQUAL, now=make.NOW)
    me, reviewer = labeler(campaign), make.user("reviewer")
    held = me.take(campaign)
    me.submit(held, **form)
    assert 'data-fact="no-prompt"' not in me.get("answer", held.id).content.decode()
    accept_instruction(assignment_id=held.id, reviewer=reviewer, comment="", now=timezone.now())
    assert Instruction.objects.get().refusal
    assert 'data-fact="no-prompt"' in me.get("answer", held.id).content.decode()


def badge(me, held):
    pages = [me.get("answers").content.decode(), me.get("answer", held.id).content.decode()]
    found = [re.findall(r'<span class="badge" data-state="(\w+)">([^<]*)</span>', page) for page in pages]
    assert found[0] == found[1]
    return found[0]
