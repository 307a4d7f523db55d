"""A reviewer takes answers from the queue and accepts them or sends them back."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.demonstrations import actions as demonstrations
from annotate.rankings import actions as rankings
from annotate.rankings.models import Candidate
from annotate.rankings.rules import Mark
from annotate.studio.views.review import CHANGED
from annotate.work import filling, leases, refusals, submitting
from annotate.work.models import Assignment
from annotate.work.states import State
from tests import factories as make
from tests.studio.conftest import answered, client_of, sent_back, told, words

QUEUE = "studio:review"


def page(assignment):
    return reverse("studio:review-answer", args=[assignment.id])


def read(assignment):
    """What the page's form says of the answer that it shows now."""
    return {"read": Assignment.objects.get(id=assignment.id).submitted_at.isoformat()}


def reviewed_campaign(tasks=1, **fields):
    campaign = make.campaign(review_percent=100, **fields)
    for _ in range(tasks):
        make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=make.NOW)
    return campaign


@pytest.fixture
def waiting(db):
    """waiting(text): a submitted answer that waits for review, each a minute after the one before."""
    campaign = reviewed_campaign(5)
    minutes = iter(range(10))

    def submit(text="An answer."):
        return answered(campaign, make.user(), text, now=make.NOW + timedelta(minutes=next(minutes)))

    return submit


def rewritten(assignment, text):
    """The labeler takes the sent-back answer up again and hands in another text."""
    labeler = assignment.labeler
    submitting.resume(assignment_id=assignment.id, labeler=labeler, now=make.NOW)
    with transaction.atomic():
        demonstrations.submit(
            assignment_id=assignment.id, labeler=labeler, text=text, submit_key=uuid4(), now=make.NOW + make.MINUTE
        )


def test_the_queue_starts_with_what_waits_longest(review, waiting):
    rows = [waiting() for _ in range(3)]
    response = review.get(reverse(QUEUE))
    assert list(response.context["page"]) == rows
    assert page(rows[0]) in words(response).split("<table")[0]


def test_the_queue_narrows_to_a_campaign(review, waiting):
    waiting()
    other = answered(reviewed_campaign(), make.user())
    response = review.get(reverse(QUEUE), {"campaign": other.campaign_id})
    assert list(response.context["page"]) == [other]
    assert [(row.id, row.waiting) for row in response.context["campaigns"] if row.id == other.campaign_id] == [
        (other.campaign_id, 1)
    ]
    assert list(review.get(reverse(QUEUE), {"campaign": "x"}).context["page"])[-1] == other


def test_the_queue_costs_the_same_queries_however_long_it_is(review, waiting, django_assert_num_queries):
    for rows in (1, 2):
        for _ in range(rows):
            waiting()
        # Session, user, campaigns, count, page, and the oldest for the button.
        with django_assert_num_queries(6):
            response = review.get(reverse(QUEUE))
    assert response.context["page"].paginator.count == 3


@pytest.mark.django_db
def test_an_empty_queue_says_when_something_comes(review):
    assert 'data-fact="nothing-waits"' in words(review.get(reverse(QUEUE)))


def test_the_page_shows_prompt_answer_and_guideline(review, waiting):
    assignment = waiting("Seven *good* reasons")
    text = words(review.get(page(assignment)))
    assert assignment.task.prompt.text in text
    assert "Seven <em>good</em> reasons" in text
    assert "Be helpful, truthful and harmless." in text


def test_accepting_counts_the_answer_and_goes_on_with_the_next(review, reviewer, waiting):
    first, second = waiting(), waiting()
    response = review.post(page(first), {"decision": "accept", "comment": "Fine"} | read(first))
    assert response.url == page(second)
    first.refresh_from_db()
    assert (first.state, first.decided_by, first.comment) == (State.ACCEPTED, reviewer, "Fine")
    assert review.post(page(second), {"decision": "accept"} | read(second)).url == reverse(QUEUE)


def test_the_next_one_stays_in_the_campaign(review, waiting):
    waiting()
    campaign = reviewed_campaign(2)
    first, second = answered(campaign, make.user()), answered(campaign, make.user())
    chosen = f"?campaign={campaign.id}"
    response = review.post(page(first) + chosen, {"decision": "accept"} | read(first))
    assert response.url == page(second) + chosen


def test_sending_back_needs_a_comment(review, waiting):
    assignment = waiting()
    response = review.post(page(assignment), {"decision": "send_back", "comment": "  "} | read(assignment))
    assert response.context["form"].errors["comment"] == [str(refusals.CommentNeeded.message)]
    assignment.refresh_from_db()
    assert assignment.state == State.SUBMITTED
    review.post(page(assignment), {"decision": "send_back", "comment": "Name a source"} | read(assignment))
    assignment.refresh_from_db()
    assert (assignment.state, assignment.comment) == (State.SENT_BACK, "Name a source")


def test_a_comment_that_is_too_long_is_refused_whole(review, waiting):
    assignment = waiting()
    response = review.post(page(assignment), {"decision": "send_back", "comment": "x" * 5001} | read(assignment))
    assert "it has 5001" in response.content.decode()
    assert "x" * 5001 in response.content.decode()
    assignment.refresh_from_db()
    assert assignment.state == State.SUBMITTED


@pytest.mark.parametrize("form", [{}, {"decision": "burn"}, {"decision": "accept", "read": ""}])
def test_a_form_that_decides_nothing_changes_nothing(review, waiting, form):
    assignment = waiting()
    assert review.post(page(assignment), read(assignment) | form).context["form"].errors
    assignment.refresh_from_db()
    assert assignment.state == State.SUBMITTED


def test_the_second_of_two_reviewers_is_told_and_keeps_the_comment(review, waiting):
    assignment = waiting()
    other = make.user(Role.REVIEWER, username="ron")
    work_of = client_of(other)
    review.get(page(assignment))
    work_of.post(page(assignment), {"decision": "accept"} | read(assignment))
    response = review.post(page(assignment), {"decision": "send_back", "comment": "Name a source"} | read(assignment))
    assert told(response) == ["ron decided about this answer while you were reading it. Your decision was not stored."]
    assert "Name a source" in words(response)
    assignment.refresh_from_db()
    assert (assignment.state, assignment.decided_by) == (State.ACCEPTED, other)


@pytest.mark.parametrize("decision", ["accept", "send_back"])
def test_a_decision_that_arrives_twice_goes_on_with_the_next_answer(review, waiting, decision):
    first, second = waiting(), waiting()
    form = {"decision": decision, "comment": "Name a source"} | read(first)
    assert [review.post(page(first), form).url for _ in "12"] == [page(second)] * 2
    response = review.get(page(second))
    assert told(response) == ["Accepted." if decision == "accept" else "Sent back with your comment."]


def test_a_reviewer_who_decides_otherwise_in_a_second_tab_is_told_that_it_is_decided(review, waiting):
    assignment = waiting()
    form = read(assignment)
    review.post(page(assignment), {"decision": "accept"} | form)
    response = review.post(page(assignment), {"decision": "send_back", "comment": "Name a source"} | form)
    assert told(response)[-1] == "You have already decided about this answer. Your second decision was not stored."
    assert "Name a source" in words(response)
    assignment.refresh_from_db()
    assert assignment.state == State.ACCEPTED


def test_an_answer_written_anew_meanwhile_is_read_again(review, reviewer, waiting):
    assignment = waiting("First try")
    first = read(assignment)
    sent_back(assignment, make.user(Role.REVIEWER))
    assignment.refresh_from_db()
    rewritten(assignment, "Second try")
    is_read_again(review, assignment, first)


def test_an_answer_taken_back_and_written_anew_meanwhile_is_read_again(review, reviewer):
    assignment = answered(reviewed_campaign(undo_minutes=10), make.user(), "First try")
    first = read(assignment)
    who = {"assignment_id": assignment.id, "labeler": assignment.labeler, "now": make.NOW + make.MINUTE}
    with transaction.atomic():
        demonstrations.undo(**who)
    with transaction.atomic():
        demonstrations.submit(**who, text="Second try", submit_key=uuid4())
    is_read_again(review, assignment, first)


@pytest.mark.parametrize("read", ["yesterday", "2030-01-01", "2030-13-41T00:00:00", "2030-01-01T00:00:00"])
def test_what_names_no_answer_decides_about_none(review, waiting, read):
    assignment = waiting()
    response = review.post(page(assignment), {"decision": "accept", "read": read})
    assert told(response)[0] == str(CHANGED)
    assignment.refresh_from_db()
    assert assignment.state == State.SUBMITTED


def is_read_again(review, assignment, first):
    """Neither verdict about the first try reaches the second."""
    for verdict in ({"decision": "accept"}, {"decision": "send_back", "comment": "Too short"}):
        response = review.post(page(assignment), verdict | first)
        assert told(response)[0] == str(CHANGED)
        assert "Second try" in words(response)
        assert response.context["form"]["read"].value() == read(assignment)["read"]
        assignment.refresh_from_db()
        assert assignment.state == State.SUBMITTED
    assert assignment.state == State.SUBMITTED
    review.post(page(assignment), {"decision": "accept"} | read(assignment))
    assignment.refresh_from_db()
    assert assignment.state == State.ACCEPTED


@pytest.mark.django_db(transaction=True)
def test_two_reviewers_at_the_same_moment_decide_once():
    assignment = answered(reviewed_campaign(), make.user())
    people = [make.user(Role.REVIEWER), make.user(Role.REVIEWER)]
    clients = [client_of(person) for person in people]
    start, outcomes = threading.Barrier(2), {}

    def decide(number):
        start.wait()
        decision = ("accept", "send_back")[number]
        response = clients[number].post(page(assignment), {"decision": decision, "comment": "x"} | read(assignment))
        outcomes[number] = response.status_code
        connection.close()

    threads = [threading.Thread(target=decide, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Who came first goes on to the queue, the other reads why nothing was stored.
    assert sorted(outcomes.values()) == [200, 302]
    winner = next(number for number, status in outcomes.items() if status == 302)
    assignment.refresh_from_db()
    assert assignment.decided_by == people[winner]
    assert assignment.events.filter(move__in=["accept", "send_back"]).count() == 1


def test_earlier_rounds_are_told(review, waiting):
    assignment = waiting("First try")
    sent_back(assignment, make.user(Role.REVIEWER, username="ron"), "Name a source")
    assignment.refresh_from_db()
    rewritten(assignment, "Second try")
    text = words(review.get(page(assignment)))
    assert "Name a source" in text
    assert "First try" in text
    assert "Round 2" in text


def test_what_is_decided_is_shown_without_the_buttons(review, reviewer, waiting):
    assignment = waiting()
    review.post(page(assignment), {"decision": "accept"} | read(assignment))
    text = words(review.get(page(assignment)))
    assert "rea has already decided about this answer" in text
    assert 'name="decision"' not in text


def test_nobody_reviews_their_own_answer(waiting):
    assignment = waiting()
    person = assignment.labeler
    person.role = Role.REVIEWER
    person.save()
    client = client_of(person)
    assert not client.get(reverse(QUEUE)).context["page"].paginator.count
    for response in (
        client.get(page(assignment), follow=True),
        client.post(page(assignment), {"decision": "accept"} | read(assignment), follow=True),
    ):
        assert told(response) == [str(refusals.OwnAnswer.message)]
    assignment.refresh_from_db()
    assert assignment.state == State.SUBMITTED


@pytest.mark.django_db
def test_an_answer_that_needs_no_review_is_not_found(review):
    campaign = make.campaign()
    make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=make.NOW)
    assignment = answered(campaign, make.user())
    assert review.get(page(assignment)).status_code == 404
    assert review.get(reverse("studio:review-answer", args=[assignment.id + 1])).status_code == 404


@pytest.mark.django_db
def test_a_labeler_neither_reads_nor_decides():
    assignment = answered(reviewed_campaign(), make.user())
    outsider = client_of(make.user())
    for response in (
        outsider.get(page(assignment)),
        outsider.post(page(assignment), {"decision": "accept"} | read(assignment)),
    ):
        assert response.status_code == 403
    assert Assignment.objects.get().state == State.SUBMITTED


@pytest.mark.django_db
def test_a_reviewer_of_rankings_reads_letters_and_no_policy(review):
    campaign = reviewed_campaign(0, workflow="rankings")
    prompt, policy = make.prompt(campaign.pool), make.policy("secret-policy-name")
    for number in range(4):
        make.completion(prompt, policy, f"Text {number}")
    rankings.open_slates(campaign=campaign, now=make.NOW)
    labeler = make.user()
    make.acknowledge(labeler, campaign)
    held = leases.claim(campaign_id=campaign.id, labeler=labeler, now=make.NOW)
    shown = rankings.show(task=held.task, labeler=labeler, now=make.NOW)
    rankings.submit(
        assignment_id=held.id,
        labeler=labeler,
        marks={candidate.id: Mark(rating=4, place=1) for candidate in shown},
        note="",
        submit_key=uuid4(),
        now=make.NOW,
    )
    text = words(review.get(page(held)))
    assert all(f"Candidate {letter}" in text for letter in "ABCD")
    assert "secret-policy-name" not in text
    assert Candidate.objects.count() == 4


@pytest.mark.parametrize("campaign", ["9" * 30, "9" * 5000, "²", "-1", "x"])
@pytest.mark.django_db
def test_an_address_typed_by_hand_names_no_campaign(review, campaign):
    response = review.get(reverse("studio:review"), {"campaign": campaign})
    assert response.status_code == 200
