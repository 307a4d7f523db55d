from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from annotate.accounts.models import Role
from annotate.guidelines import actions, queries
from annotate.guidelines.models import Acknowledgement
from tests import factories as make

NOW = make.NOW
LATER = NOW + timedelta(days=1)


def next_version(guideline, body="Be brief."):
    by = make.user(Role.MANAGER)
    actions.save_draft(guideline=guideline, body=body, summary="", by=by, now=LATER)
    return actions.publish(guideline=guideline, now=LATER)


@pytest.mark.django_db
def test_a_labeler_acknowledges_once_and_the_first_time_counts():
    version, labeler = queries.current_version(make.guideline()), make.user()
    assert queries.acknowledged_version(labeler, version.guideline) is None
    first = actions.acknowledge(version=version, labeler=labeler, now=NOW)
    again = actions.acknowledge(version=version, labeler=labeler, now=LATER)
    assert first == again
    assert again.acknowledged_at == NOW
    assert queries.acknowledged_version(labeler, version.guideline) == version


@pytest.mark.django_db
def test_an_acknowledgement_is_of_one_version_by_one_person():
    guideline, labeler = make.guideline(), make.user()
    first = queries.current_version(guideline)
    actions.acknowledge(version=first, labeler=labeler, now=NOW)
    second = next_version(guideline)
    assert queries.acknowledged_version(labeler, guideline) == first
    assert queries.acknowledged_version(make.user(), guideline) is None
    assert queries.acknowledged_version(labeler, make.guideline()) is None
    actions.acknowledge(version=second, labeler=labeler, now=LATER)
    assert queries.acknowledged_version(labeler, guideline) == second
    assert [row.labeler for row in queries.acknowledgements(second)] == [labeler]


@pytest.mark.django_db
def test_a_draft_is_not_acknowledged():
    guideline = actions.create_guideline(name="New", body="Be kind.", by=make.user(Role.MANAGER), now=NOW)
    with pytest.raises(actions.NotPublished):
        actions.acknowledge(version=queries.draft_version(guideline), labeler=make.user(), now=NOW)


@pytest.mark.django_db(transaction=True)
def test_two_tabs_acknowledge_once():
    version, labeler, together = queries.current_version(make.guideline()), make.user(), Barrier(2)

    def tab():
        try:
            together.wait()
            return actions.acknowledge(version=version, labeler=labeler, now=NOW).id
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as tabs:
        ids = {done.result() for done in [tabs.submit(tab), tabs.submit(tab)]}
    assert len(ids) == 1
    assert Acknowledgement.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_managers_who_begin_the_next_version_at_once_write_one_draft():
    guideline, together = make.guideline(), Barrier(2)

    def manager(body):
        by = make.user(Role.MANAGER)
        try:
            together.wait()
            return actions.save_draft(guideline=guideline, body=body, summary="", by=by, now=NOW).number
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as managers:
        numbers = list(managers.map(manager, ["One.", "Two."]))
    assert numbers == [2, 2]
    assert guideline.versions.count() == 2
