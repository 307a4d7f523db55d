"""A text that is slow to render or to compare holds up nobody: who types it, answers it, reviews it or reads it."""

import time
from contextlib import contextmanager

import pytest
from django.urls import reverse
from django.utils.html import escape

from annotate.accounts.models import Role
from annotate.lib import markdown
from annotate.lib.budget import UNITS_PER_REQUEST, RequestBudget, left
from annotate.lib.diff import MAX_DIFF_UNITS
from annotate.work import filling
from annotate.work.models import Assignment
from tests import factories as make
from tests.desk.conftest import publish
from tests.studio.conftest import answered, client_of

pytestmark = pytest.mark.django_db

QUOTES = "> " * 40 + "a\n" + "lazy\n" * 39_000
# Nearly all that is rendered at most, several times over.
DENSE = "*a* `b` [c](https://d)\n" * 400
OLD = " ".join(f"w{number * 7 % 997}" for number in range(16_000))
NEW = " ".join(f"w{number * 11 % 991}" for number in range(16_000))


@contextmanager
def quickly():
    """Fails if rendering and comparing may spend more than a request has, or the whole page takes seconds."""
    spent = []
    markdown._cached.cache_clear()
    rendered = markdown._rendered
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown, "_rendered", lambda text, top: spent.append(markdown.cost(text)) or rendered(text, top))
        patch.setattr(markdown, "_cached", lambda text, top: spent.append(markdown.cost(text)) or rendered(text, top))
        began = time.process_time()
        yield spent
        assert time.process_time() - began < 1.5
    assert sum(spent) <= UNITS_PER_REQUEST
    assert markdown.MAX_COST * 12 <= UNITS_PER_REQUEST >= 2 * MAX_DIFF_UNITS


def test_a_preview_of_quotes_in_quotes(labeler):
    with quickly():
        part = labeler().post("preview", data={"text": QUOTES}).content.decode()
    assert "formatting it would take too long" in part
    assert part.count("lazy") == 39_000


def test_a_stored_answer_for_its_labeler_and_for_the_reviewer(labeler):
    campaign = make.campaign(review_percent=100)
    prompt = make.prompt(campaign.pool, QUOTES + "!")
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.all(), now=make.NOW)
    me = labeler(campaign)
    answer = answered(campaign, me.user, QUOTES)
    with quickly():
        assert "lazy" in me.get("answer", answer.id).content.decode()
    with quickly():
        page = client_of(make.user(Role.REVIEWER)).get(reverse("studio:review-answer", args=[answer.id]))
    assert page.content.decode().count("lazy") == 2 * 39_000
    with quickly():
        page = client_of(make.user(Role.MANAGER)).get(reverse("studio:prompt", args=[prompt.id]))
    assert "lazy" in page.content.decode()


@pytest.mark.parametrize("text", [QUOTES, DENSE], ids=["each too much", "each just right"])
def test_a_slate_of_nine(labeler, rankings, text):
    campaign = rankings(texts=tuple(f"{text}{number}" for number in range(9)))
    me = labeler(campaign)
    held = me.take(campaign)
    with quickly() as spent:
        page = me.get("task", held.id).content.decode()
    assert page.count("lazy") >= 9 * 39_000 * (text == QUOTES)
    # Candidates are all rendered, or none is: which one is read easily must not depend on its place.
    assert page.count('<div class="prose full"><p ') == 9 * (text == DENSE)
    assert page.count("formatting it would take too long") == 9 * (text == QUOTES)
    assert len(spent) >= 9 * (text == DENSE)


def test_a_conversation_of_a_hundred_turns(labeler):
    campaign = make.campaign()
    roles = ["user", "assistant"] * 50 + ["user"]
    turns = [{"role": role, "content": f"{DENSE}{number}"} for number, role in enumerate(roles)]
    make.prompt(campaign.pool, messages=turns)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.all(), now=make.NOW)
    me = labeler(campaign)
    held = me.take(campaign)
    with quickly() as spent:
        page = me.get("task", held.id).content.decode()
    assert 10 < len(spent) < 101
    for number in range(101):
        assert f"c](https://d)\n{number}<" in page  # every turn is there, rendered or not


def test_a_rewriting_while_it_is_typed_and_as_it_is_stored(labeler, instructions):
    campaign = instructions()
    task = campaign.tasks.get()
    task.prompt.messages[-1]["content"] = OLD
    task.prompt.save()
    me = labeler(campaign)
    held = me.take(campaign)
    with quickly():
        part = me.post("compare", held.id, data={"text": NEW}).content.decode()
    assert "<del>" in part
    assert me.submit(held, text=NEW, category="generation", reasons=["other"]).status_code in {200, 302}
    if Assignment.objects.get(id=held.id).submitted_at:
        with quickly():
            assert "<del>" in me.get("answer", held.id).content.decode()


MARKS = "a" + "\u0316\u0301" * 2_000_000


def test_a_rewriting_of_megabytes_is_neither_composed_nor_compared(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    with quickly():
        part = me.post("compare", held.id, data={"text": MARKS}).content.decode()
    assert 'data-fact="too-long"' in part
    assert "\u0301" not in part
    with quickly():
        page = me.submit(held, text=MARKS, category="generation", reasons=["other"]).content.decode()
    assert "longer than 200,000 characters" in page
    assert page.count(MARKS) == 1  # what was typed stays
    part = me.post("compare", held.id, data={"text": MARKS[:200_000]}).content.decode()
    assert "<ins>" in part


@pytest.mark.parametrize("field", ["text", "note"])
def test_megabytes_in_a_field_are_refused_before_they_are_composed(labeler, demonstrations, instructions, field):
    campaign = demonstrations() if field == "text" else instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    typed = {"text": "Short.", "category": "generation", "reasons": ["other"]} | {field: MARKS}
    with quickly():
        assert me.submit(held, **typed).status_code != 302
    held.refresh_from_db()
    assert held.submitted_at is None


def test_a_guideline_and_what_changed_in_it(labeler, demonstrations):
    campaign = demonstrations()
    publish(campaign.guideline, OLD)
    me = labeler(campaign)
    publish(campaign.guideline, NEW)
    with quickly():
        assert "<del>" in me.get("guideline", campaign.id).content.decode()
    manager = client_of(make.user(Role.MANAGER))
    with quickly():
        page = manager.get(reverse("studio:guideline-compare", args=[campaign.guideline_id]))
    assert "<del>" in page.content.decode()
    with quickly():
        part = manager.post(reverse("studio:guideline-preview"), {"body": QUOTES}).content.decode()
    assert escape("> > > ") in part


def test_each_request_has_a_budget(labeler, rf, settings):
    assert "annotate.lib.budget.RequestBudget" in settings.MIDDLEWARE
    seen = []
    RequestBudget(lambda _request: seen.append(left()))(rf.get("/"))
    assert seen == [UNITS_PER_REQUEST]
    assert left() == float("inf")
