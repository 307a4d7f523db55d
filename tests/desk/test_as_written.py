"""Wherever a text is answered or judged, it can be read as it was written."""

import re
from html import unescape

import pytest
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.pools.models import Kind
from annotate.work import filling
from tests import factories as make
from tests.desk.conftest import filled, marks, publish
from tests.studio.conftest import answered, client_of

pytestmark = pytest.mark.django_db

PROMPT = "Is **2*3*4** & \\(x\\)\n    the same?  \n\n1) a"
ANSWER = "Yes: **24**, &copy;\n\n    as code\n- b"


def as_written(response):
    page = response.content.decode()
    folded = re.findall(r'<details class="written">(.*?)</details>', page, re.DOTALL)
    return [
        unescape(re.search(r'<pre class="as-written" dir="auto">\n(.*?)</pre>', part, re.DOTALL)[1]) for part in folded
    ]


def test_a_demonstration_its_prompt_and_its_review(labeler):
    campaign = make.campaign(review_percent=100)
    make.prompt(campaign.pool, PROMPT)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.all(), now=make.NOW)
    me = labeler(campaign)
    held = me.take(campaign)
    assert as_written(me.get("task", held.id)) == [PROMPT]
    me.post("release", held.id)
    answer = answered(campaign, me.user, ANSWER)
    assert as_written(me.get("answer", answer.id)) == [PROMPT, ANSWER]
    review = client_of(make.user(Role.REVIEWER)).get(reverse("studio:review-answer", args=[answer.id]))
    assert as_written(review) == [PROMPT, ANSWER]


def test_a_slate_and_its_prompt(labeler, rankings):
    campaign = rankings(texts=tuple(f"{ANSWER}{letter}" for letter in "abcd"))
    campaign.pool.prompts.update(messages=[{"role": "user", "content": PROMPT}])
    me = labeler(campaign)
    held = me.take(campaign)
    shown = as_written(me.get("task", held.id))
    assert shown[0] == PROMPT
    assert sorted(shown[1:]) == [f"{ANSWER}{letter}" for letter in "abcd"]
    me.submit(held, **marks(4, places="1234"), note="*Why*")
    shown = as_written(me.get("answer", held.id))
    assert shown[0] == PROMPT
    assert sorted(shown[1:-1]) == [f"{ANSWER}{letter}" for letter in "abcd"]
    assert shown[-1] == "*Why*"


def test_an_instruction_and_the_one_it_rewrites(labeler, instructions):
    campaign = instructions()
    campaign.pool.prompts.update(messages=[{"role": "user", "content": PROMPT}])
    me = labeler(campaign)
    held = me.take(campaign)
    assert as_written(me.get("task", held.id)) == [PROMPT]
    me.submit(held, text=ANSWER, category="generation", reasons=["other"], note="Because.")
    assert as_written(me.get("answer", held.id)) == [PROMPT, ANSWER]


def test_a_note_keeps_its_spaces_and_shows_what_nobody_sees(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text=ANSWER, category="generation", reasons=["other"], note="a  <b>\n  c\u202ed")
    page = me.get("answer", held.id).content.decode()
    assert '<div class="typed" dir="auto">a  &lt;b&gt;\n  c<mark>U+202E</mark>d</div>' in page


def test_a_guideline_that_is_not_formatted_says_so(labeler, demonstrations):
    campaign = demonstrations()
    publish(campaign.guideline, "*a* " * 5_000)
    me = labeler(campaign)
    assert 'data-fact="unrendered"' in me.get("guideline", campaign.id).content.decode()
    assert 'data-fact="unrendered"' in me.get("task", me.take(campaign).id).content.decode()


def test_a_few_shot_prompt(labeler):
    pool = make.pool()
    pairs = [{"query": "*a*", "response": "**b**"}, {"query": "_c_", "response": "hidden"}]
    make.prompt(pool, "a", kind=Kind.FEW_SHOT, shots={"instruction": PROMPT, "pairs": pairs})
    campaign = filled(make.campaign(over=pool))
    me = labeler(campaign)
    held = me.take(campaign)
    assert as_written(me.get("task", held.id)) == [PROMPT, "*a*", "**b**", "_c_"]


def test_a_preview(labeler):
    assert as_written(labeler().post("preview", data={"text": ANSWER})) == [ANSWER]


def test_a_preview_says_what_it_leaves_out(labeler):
    me = labeler()
    assert "200,000" in me.post("preview", data={"text": "a" * 200_001}).content.decode()
    assert 'data-fact="cut"' not in me.post("preview", data={"text": "a" * 200_000}).content.decode()


def test_what_managers_read(rankings):
    campaign = rankings(texts=(ANSWER, "b", "c", "d"))
    prompt = campaign.pool.prompts.get()
    page = client_of(make.user(Role.MANAGER)).get(reverse("studio:prompt", args=[prompt.id]))
    assert {ANSWER, "b", "c", "d"} < set(as_written(page))
