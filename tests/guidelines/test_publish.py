from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from annotate.accounts.models import Role
from annotate.guidelines import actions, queries
from annotate.guidelines.models import Guideline, GuidelineVersion
from tests import factories as make

NOW = make.NOW
LATER = NOW + timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager():
    return make.user(Role.MANAGER)


@pytest.fixture
def guideline(manager):
    return actions.create_guideline(name="Helpfulness", body="Be helpful.", by=manager, now=NOW)


def save(guideline, body, by, summary=""):
    return actions.save_draft(guideline=guideline, body=body, summary=summary, by=by, now=LATER)


def test_a_new_guideline_is_a_draft_that_nobody_works_under(guideline):
    draft = queries.draft_version(guideline)
    assert (draft.number, draft.body, draft.published_at) == (1, "Be helpful.", None)
    assert queries.current_version(guideline) is None


def test_two_guidelines_do_not_share_a_name(guideline, manager):
    with pytest.raises(actions.NameTaken):
        actions.create_guideline(name="Helpfulness", body="Again.", by=manager, now=NOW)
    assert Guideline.objects.count() == 1


def test_a_draft_is_written_over_until_it_is_published(guideline, manager):
    save(guideline, "Be helpful and honest.", manager)
    assert guideline.versions.get().body == "Be helpful and honest."
    published = actions.publish(guideline=guideline, now=LATER)
    assert (published.number, published.published_at) == (1, LATER)
    assert queries.current_version(guideline) == published


def test_writing_after_a_publication_begins_the_next_version(guideline, manager):
    first = actions.publish(guideline=guideline, now=NOW)
    other = make.user(Role.MANAGER)
    draft = save(guideline, "Be helpful, honest and harmless.", other, "harmless")
    assert (draft.number, draft.created_by, draft.summary) == (2, other, "harmless")
    assert queries.current_version(guideline) == first
    assert queries.current_version(guideline).body == "Be helpful."


def test_there_must_be_something_to_publish(guideline, manager):
    actions.publish(guideline=guideline, now=NOW)
    with pytest.raises(actions.NoDraft):
        actions.publish(guideline=guideline, now=LATER)


def test_an_empty_text_is_not_published(guideline, manager):
    save(guideline, " \n", manager)
    with pytest.raises(actions.EmptyText):
        actions.publish(guideline=guideline, now=NOW)


def test_nobody_is_asked_to_acknowledge_the_same_text_again(guideline, manager):
    actions.publish(guideline=guideline, now=NOW)
    save(guideline, "Be helpful.", manager)
    with pytest.raises(actions.NothingChanged):
        actions.publish(guideline=guideline, now=LATER)


@pytest.mark.parametrize("change", [{"body": "Be nice."}, {"summary": "typo"}, {"published_at": LATER}, {"number": 7}])
def test_the_database_refuses_to_change_a_published_version(guideline, change):
    version = actions.publish(guideline=guideline, now=NOW)
    with pytest.raises(IntegrityError, match="published guideline version is never changed"), transaction.atomic():
        GuidelineVersion.objects.filter(id=version.id).update(**change)


def test_the_database_refuses_to_delete_a_published_version(guideline):
    version = actions.publish(guideline=guideline, now=NOW)
    with pytest.raises(IntegrityError, match="published guideline version is never changed"), transaction.atomic():
        version.delete()


def test_the_database_refuses_a_second_draft(guideline, manager):
    with pytest.raises(IntegrityError, match="guidelineversion_one_draft"), transaction.atomic():
        GuidelineVersion.objects.create(guideline=guideline, number=2, body="x", created_by=manager, created_at=NOW)


def test_the_list_says_where_each_guideline_stands(guideline, manager):
    current = make.guideline("Advanced")
    save(current, "Be brief.", manager)
    actions.acknowledge(version=queries.current_version(current), labeler=make.user(), now=NOW)
    stands = [(row.name, row.current_number, row.has_draft, row.acknowledged) for row in queries.guidelines()]
    assert stands == [("Advanced", 1, True, 1), ("Helpfulness", None, True, None)]


@pytest.mark.parametrize("rows", [1, 3])
def test_lists_cost_one_query(rows, manager, django_assert_num_queries):
    for _ in range(rows):
        listed = make.guideline()
    for number in range(rows):
        save(listed, f"Text {number}", manager)
        actions.publish(guideline=listed, now=NOW)
    with django_assert_num_queries(1):
        assert len(queries.guidelines()) == rows
    with django_assert_num_queries(1):
        found = [(version.number, version.is_current, version.created_by.name) for version in queries.versions(listed)]
    assert [(number, current) for number, current, _by in found] == [
        (rows + 1 - place, place == 0) for place in range(rows + 1)
    ]
