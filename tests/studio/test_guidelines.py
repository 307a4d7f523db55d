"""A manager writes a guideline, compares its versions, publishes it and sees who acknowledged."""

import pytest
from django.urls import reverse

from annotate.guidelines import actions, queries
from annotate.guidelines.models import Guideline
from tests import factories as make
from tests.studio.conftest import told, words


@pytest.fixture
def guideline(db):
    return make.guideline("Answers", body="Be kind.\n\nBe brief.")


def with_draft(guideline, manager, body="Be kind.\n\nBe very brief.", summary="Briefer"):
    return actions.save_draft(guideline=guideline, body=body, summary=summary, by=manager, now=make.NOW)


def address(name, guideline, *args):
    return reverse(f"studio:{name}", args=[guideline.id, *args])


@pytest.mark.django_db
def test_a_new_guideline_begins_with_a_draft(studio, manager):
    assert reverse("studio:guideline-new") in words(studio.get(reverse("studio:guidelines"))).split("<main")[1]
    studio.post(reverse("studio:guideline-new"), {"name": "Answers", "body": "Be kind."})
    guideline = Guideline.objects.get()
    assert queries.current_version(guideline) is None
    draft = queries.draft_version(guideline)
    assert (draft.number, draft.body, draft.created_by) == (1, "Be kind.", manager)
    page = words(studio.get(address("guideline", guideline)))
    assert 'data-fact="draft"' in page
    assert "Be kind." in page


def test_a_taken_name_is_refused_and_the_text_stays(studio, guideline):
    response = studio.post(reverse("studio:guideline-new"), {"name": "Answers", "body": "A long text"})
    assert response.context["form"].errors["name"] == [actions.NameTaken.message]
    assert "A long text" in words(response)


def test_writing_starts_from_the_published_text_and_leaves_it(studio, guideline):
    page = studio.get(address("guideline-draft", guideline))
    assert page.context["form"]["body"].value() == "Be kind.\n\nBe brief."
    studio.post(address("guideline-draft", guideline), {"body": "Be honest.", "summary": "Honesty"})
    assert queries.current_version(guideline).body == "Be kind.\n\nBe brief."
    draft = queries.draft_version(guideline)
    assert (draft.number, draft.body, draft.summary) == (2, "Be honest.", "Honesty")
    assert studio.get(address("guideline-draft", guideline)).context["form"]["body"].value() == "Be honest."


def test_an_empty_draft_is_refused(studio, guideline):
    response = studio.post(address("guideline-draft", guideline), {"body": " \n "})
    assert "body" in response.context["form"].errors
    assert queries.draft_version(guideline) is None


@pytest.mark.django_db
def test_the_preview_is_a_part_in_which_markup_does_nothing(studio):
    part = words(studio.post(reverse("studio:guideline-preview"), {"body": "*kind* <script>alert(1)</script>"}))
    assert "<em>kind</em>" in part
    assert "<script>" not in part
    assert "<html" not in part
    assert "Nothing is written yet" in words(studio.post(reverse("studio:guideline-preview"), {"body": "  "}))


def test_two_versions_are_compared_word_by_word(studio, manager, guideline):
    with_draft(guideline, manager)
    page = words(studio.get(address("guideline-compare", guideline)))
    assert "<ins>very </ins>" in page or "<ins> very</ins>" in page
    backwards = studio.get(address("guideline-compare", guideline), {"from": "2", "to": "1"})
    assert "<del>" in words(backwards)
    alone = studio.get(address("guideline-compare", guideline), {"from": "1", "to": "1"})
    assert "The two texts are the same" in words(alone)


def test_publishing_is_confirmed_with_what_changes(studio, manager, guideline):
    campaign = make.campaign(guideline=guideline)
    with_draft(guideline, manager)
    page = words(studio.get(address("guideline-publish", guideline)))
    assert campaign.name in page
    assert "Briefer" in page
    assert queries.current_version(guideline).number == 1
    response = studio.post(address("guideline-publish", guideline), follow=True)
    assert told(response) == ["Version 2 is published."]
    assert queries.current_version(guideline).number == 2


def test_there_must_be_something_to_publish(studio, manager, guideline):
    for method in (studio.get, studio.post):
        response = method(address("guideline-publish", guideline), follow=True)
        assert told(response) == [str(actions.NoDraft.message)]
    with_draft(guideline, manager, body="Be kind.\n\nBe brief.")
    response = studio.post(address("guideline-publish", guideline), follow=True)
    assert told(response) == [str(actions.NothingChanged.message)]
    assert queries.current_version(guideline).number == 1


def test_a_version_tells_who_acknowledged_it(studio, guideline):
    lea = make.user(username="lea")
    make.acknowledge(lea, make.campaign(guideline=guideline))
    page = studio.get(address("guideline-version", guideline, 1))
    assert [row.labeler for row in page.context["page"]] == [lea]
    assert "lea" in words(page)
    assert studio.get(address("guideline-version", guideline, 2)).status_code == 404


@pytest.mark.django_db
def test_the_list_costs_the_same_queries_however_long_it_is(studio, django_assert_num_queries):
    for rows in (1, 2):
        for _ in range(rows):
            make.guideline()
        # Session, user, count, guidelines.
        with django_assert_num_queries(4):
            page = studio.get(reverse("studio:guidelines")).context["page"]
    assert [row.current_number for row in page] == [1, 1, 1]
