"""What is typed is kept on the server, and comes back."""

from importlib import import_module

import pytest
from django import forms
from django.urls import reverse

from annotate.instructions.actions import add_briefs
from annotate.pools.models import Kind
from annotate.work import refusals
from annotate.work.models import Draft
from tests import factories as make
from tests.desk.conftest import marks
from tests.desk.test_heavy_texts import quickly
from tests.factories import draft_of


def body(me, assignment):
    return draft_of(me.user, assignment.task_id).body


def test_a_draft_is_saved_and_its_time_acknowledged(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    answer = me.save(held, text="Half a sen")
    assert answer.status_code == 200
    assert answer.json()["saved_at"]
    assert body(me, held) == {"text": ["Half a sen"]}
    me.save(held, text="Half a sentence")
    assert Draft.objects.count() == 1
    assert "Half a sentence" in me.get("task", held.id).content.decode()


def test_a_draft_of_a_demonstration_comes_back_to_the_letter(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    text = '\n  indented\t"quoted" <b>&amp;</b> 🐸\n\n'
    me.save(held, text=text)
    assert me.get("task", held.id).context["form"]["text"].value() == text


def test_a_draft_of_a_ranking_comes_back_incomplete_as_it_was(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    me.save(held, **{"rating-A": "6", "place-B": "2", "note": "Not sure"})
    cards = me.get("task", held.id).context["candidates"]
    assert [(card.letter, card.rating, card.place) for card in cards] == [
        ("A", "6", ""),
        ("B", "", "2"),
        ("C", "", ""),
        ("D", "", ""),
    ]


def test_a_draft_of_an_instruction_comes_back_with_its_choices(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.save(held, text="Better", reasons=["unclear", "language"], category="chat", note="")
    form = me.get("task", held.id).context["form"]
    assert form["text"].value() == "Better"
    assert form["reasons"].value() == ["unclear", "language"]
    assert form["category"].value() == "chat"


def test_the_draft_comes_back_with_the_task_after_a_break(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    held = me.take(campaign)
    me.save(held, text="Half")
    me.post("release", held.id, data={"text": "Half"})
    again = me.take(campaign)
    assert again.id == held.id
    assert "Half" in me.get("task", again.id).content.decode()


def test_fields_of_the_page_are_no_part_of_a_draft(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.save(held, text="Half", csrfmiddlewaretoken="t", submit_key="k", then="stop")
    assert body(me, held) == {"text": ["Half"]}


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b'{"text": "x"}',
        b'{"body": "x"}',
        b'{"body": null}',
        b'{"body": {"text": 1}}',
        b'{"body": {"text": ["a", null]}}',
        b'{"body": {"text": {"a": "b"}}}',
        b'{"body": {"text": "a"}, "seen": 7}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_draft_is_refused(labeler, demonstrations, sent):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    address = reverse("desk:draft", args=[held.id])
    assert me.client.generic("POST", address, sent, content_type="application/json").status_code == 400
    assert not Draft.objects.exists()


@pytest.mark.parametrize(
    ("sent", "kept"), [("a\\u0000b", "ab"), ("frog \\ud83d", "frog \ufffd"), ("\\ud83d\\udc38", "🐸")]
)
def test_what_a_row_cannot_hold_does_not_cost_the_rest(labeler, demonstrations, sent, kept):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    raw = f'{{"body": {{"text": "{sent}"}}}}'.encode()
    address = reverse("desk:draft", args=[held.id])
    assert me.client.generic("POST", address, raw, content_type="application/json").status_code == 200
    assert body(me, held) == {"text": [kept]}


def test_a_window_that_has_not_seen_the_others_text_is_told_of_it(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    page = me.get("task", held.id).content.decode()
    assert 'data-draft-seen=""' in page
    first = me.save(held, seen="", text="Of one window").json()
    assert first["unseen"] is None
    assert f'data-draft-seen="{first["version"]}"' in me.get("task", held.id).content.decode()
    second = me.save(held, seen="", text="Of another").json()
    assert second["unseen"] == {"text": ["Of one window"]}
    # The last one stands, and whoever knows of it hears nothing more.
    assert body(me, held) == {"text": ["Of another"]}
    assert me.save(held, seen=second["version"], text="Of another, too").json()["unseen"] is None
    assert me.save(held, text="Of a page that cannot know").json()["unseen"] is None


def test_somebody_elses_text_is_never_what_another_window_saved(labeler, demonstrations):
    campaign = demonstrations(overlap=2)
    ada, bob = labeler(campaign), labeler(campaign)
    theirs, mine = ada.take(campaign), bob.take(campaign)
    assert theirs.task_id == mine.task_id
    ada.save(theirs, seen="", text="Private")
    assert bob.save(mine, seen="", text="x").json()["unseen"] is None
    assert bob.save(theirs, seen="", text="x").json().get("unseen") != {"text": ["Private"]}


def test_a_draft_of_a_novel_is_refused_in_words(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    answer = me.save(held, text="x" * 1_000_001)
    assert (answer.status_code, answer.json()) == (409, {"words": str(refusals.DraftTooLong.message)})


@pytest.mark.parametrize("fields", [{"query": ["a"] * 1001}, {f"n{number}": [] for number in range(1001)}])
def test_a_draft_of_too_many_fields_is_not_kept(labeler, fields):
    """The page of the task shows each of them again: that of a hundred thousand pairs took ten seconds."""
    campaign = make.campaign("instructions", rewrite_pool=False, target_pool=make.pool())
    add_briefs(campaign=campaign, kind=Kind.FEW_SHOT, count=1, now=make.NOW)
    me = labeler(campaign)
    held = me.take(campaign)
    most = {"query": ["a"] * 500, "response": ["b"] * 500}
    assert me.save(held, **most).status_code == 200
    answer = me.save(held, **fields)
    assert (answer.status_code, answer.json()) == (409, {"words": str(refusals.DraftOfTooManyFields.message)})
    assert body(me, held) == most
    with quickly():
        assert me.get("task", held.id).content.decode().count("data-pair>") == 500


def test_a_late_autosave_does_not_bring_a_submitted_draft_back(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Whole")
    assert me.save(held, text="Half").status_code == 409
    assert not Draft.objects.exists()


def test_what_a_bad_answer_held_is_there_when_its_page_was_left(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    assert me.submit(held, text="x" * 100_001).status_code == 422
    assert "x" * 100_001 in me.get("task", held.id).content.decode()


def test_a_bad_ranking_comes_back_with_all_that_was_chosen(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    typed = marks(4) | {"place-C": "", "note": "Close call"}
    response = me.submit(held, **typed)
    assert response.status_code == 422
    cards = response.context["candidates"]
    assert [card.place for card in cards] == ["1", "1", "", "1"]
    assert [card.rating for card in cards] == ["4"] * 4
    assert cards[2].errors == ("Put candidate C in a place.",)
    assert "Close call" in response.content.decode()


def all_forms(base=forms.BaseForm):
    for form in base.__subclasses__():
        yield form
        yield from all_forms(form)


def test_no_browser_cuts_a_text_short_without_a_word():
    import_module("annotate.urls")
    fields = {
        f"{form.__module__}.{form.__name__}.{name}": field
        for form in all_forms()
        if form.__module__.startswith(("annotate.", "exports."))
        for name, field in form.base_fields.items()
        if isinstance(field.widget, forms.Textarea)
    }
    assert len(fields) > 5
    assert [name for name, field in fields.items() if "maxlength" in field.widget.attrs] == []


def test_a_note_that_is_too_long_comes_back_whole_with_its_length(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    page = me.submit(held, **marks(4), note="x" * 5001)
    assert page.status_code == 422
    assert "it has 5001" in page.content.decode()
    assert "x" * 5001 in page.content.decode()
    assert 'data-fact="incomplete"' not in page.content.decode()
    skipped = me.post("skip", held.id, data={"skip-sent": "1", "skip-reason": "other", "skip-note": "x" * 2001})
    assert skipped.status_code == 422
    assert "it has 2001" in skipped.content.decode()
    assert me.submit(held, **marks(4), note="x" * 5000).status_code == 302
