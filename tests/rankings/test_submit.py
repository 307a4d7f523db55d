"""From places that a person chose to the weak order that is stored."""

import pytest
from django.db import transaction

from annotate.rankings.models import Candidate, Placing, Ranking, Showing
from annotate.work.models import Assignment, Event
from annotate.work.review import send_back
from annotate.work.states import Move, State
from tests import factories as make
from tests.desk.conftest import marks


def ranks(labeler_):
    """(rating, rank) by letter, as this labeler was shown them."""
    order = Showing.objects.get(labeler=labeler_.user).order
    placed = {row.candidate_id: row for row in Placing.objects.filter(ranking__assignment__labeler=labeler_.user)}
    return {letter: (placed[row].rating, placed[row].rank) for letter, row in zip("ABCDEFGHI", order, strict=False)}


@pytest.mark.parametrize("k", range(4, 10))
def test_slates_of_every_size_are_ranked(labeler, rankings, k):
    campaign = rankings(k=k)
    me = labeler(campaign)
    held = me.take(campaign)
    assert len(me.get("task", held.id).context["candidates"]) == k
    best_to_worst = "".join(str(place) for place in range(1, k + 1))
    assert me.submit(held, **marks(k, places=best_to_worst)).status_code == 302
    assert [rank for _rating, rank in ranks(me).values()] == list(range(1, k + 1))


def test_ties_are_stored_and_ranks_have_no_gaps(labeler, rankings):
    campaign = rankings(k=5)
    me = labeler(campaign)
    me.submit(me.take(campaign), **marks(5, places="42142", ratings="36736"))
    assert ranks(me) == {"A": (3, 3), "B": (6, 2), "C": (7, 1), "D": (3, 3), "E": (6, 2)}


def test_letters_are_those_of_this_labelers_own_order(labeler, rankings):
    campaign = rankings(k=4, overlap=3)
    people = [labeler(campaign) for _ in range(3)]
    for me in people:
        me.submit(me.take(campaign), **marks(4, places="1234"))
        order = Showing.objects.get(labeler=me.user).order
        placed = Placing.objects.filter(ranking__assignment__labeler=me.user).order_by("rank")
        assert [row.candidate_id for row in placed] == order


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("field", ["place", "rating"])
@pytest.mark.parametrize("value", ["", "0", "8", "x", "1.0", "-1", None])
def test_every_candidate_is_placed_and_rated_by_a_person(labeler, rankings, letter, field, value):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    data = marks(4)
    if value is None:
        del data[f"{field}-{letter}"]
    else:
        data[f"{field}-{letter}"] = value
    response = me.submit(held, **data)
    assert response.status_code == 422
    assert [card.letter for card in response.context["candidates"] if card.errors] == [letter]
    assert not Ranking.objects.exists()
    assert Assignment.objects.get(id=held.id).state == State.LEASED


def test_an_untouched_page_is_no_answer(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    page = me.get("task", held.id).content.decode()
    assert " checked" not in page
    assert " selected" not in page
    assert me.submit(held).status_code == 422


def test_more_places_than_candidates_are_none(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    assert me.submit(me.take(campaign), **marks(4, places="1235")).status_code == 422


def test_a_ranking_made_again_takes_the_place_of_the_first_which_the_event_keeps(labeler, rankings):
    campaign = rankings(k=4, review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, note="First", **marks(4, places="1234"))
    before = list(Placing.objects.order_by("rank").values("candidate", "rating", "rank"))
    with transaction.atomic():
        send_back(assignment_id=held.id, reviewer=make.user("reviewer"), comment="Look again", now=make.NOW)
    me.post("resume", held.id)
    cards = me.get("task", held.id).context["candidates"]
    assert [card.place for card in cards] == ["1", "2", "3", "4"]
    me.submit(held, note="Second", **marks(4, places="4321"))
    assert Placing.objects.count() == 4
    assert [rank for _rating, rank in ranks(me).values()] == [4, 3, 2, 1]
    kept = Event.objects.filter(move=Move.SUBMIT).latest("id").detail["replaces"]
    assert kept == {"note": "First", "placings": before}


def test_a_labelers_own_ranking_is_shown_by_places_and_letters(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, note="B and D say the same", **marks(4, places="3121", ratings="1737"))
    context = me.get("answer", held.id).context
    assert [(rank, [(card.letter, card.rating) for card in cards]) for rank, cards in context["places"]] == [
        (1, [("B", "7"), ("D", "7")]),
        (2, [("C", "3")]),
        (3, [("A", "1")]),
    ]
    assert context["note"] == "B and D say the same"


@pytest.mark.parametrize("blank", ["", " ", "\u200b", "\u3164"])
def test_a_cut_off_candidate_says_so_and_an_empty_one_too(labeler, rankings, blank):
    campaign = rankings(texts=("one", "two", "three", blank))
    first = Candidate.objects.order_by("id").first()
    first.completion.__class__.objects.filter(id=first.completion_id).update(finish_reason="length")
    me = labeler(campaign)
    page = me.get("task", me.take(campaign).id).content.decode()
    assert page.count("Cut off at the length limit") == 1
    assert page.count("This candidate is empty.") == 1


def test_a_candidate_shows_as_harmless_text(labeler, rankings):
    nasty = (
        "<script>alert(1)</script>",
        '<img src="https://evil.example/x.png" onerror="alert(2)">',
        "![x](https://evil.example/y.png)",
        "<style>* {display: none}</style> <a href='javascript:alert(3)'>x</a>",
    )
    campaign = rankings(texts=nasty)
    me = labeler(campaign)
    held = me.take(campaign)
    first = me.get("task", held.id)
    me.submit(held, **marks(4))
    for response in (first, me.get("answer", held.id)):
        page = response.content.decode()
        assert not any(
            piece in page
            for piece in ("<script>alert", '<img src="https', "<style>", 'href="javascript', "<a href='javascript")
        )
        assert "&lt;script&gt;alert(1)" in page
        assert "'unsafe-inline'" not in response.headers["Content-Security-Policy"]
