"""What a test that commits leaves behind is gone before the next one."""

import pytest
from django.apps import apps
from django.db import DatabaseError

from annotate.work import filling, leases
from annotate.work.models import Event
from tests import databases
from tests import factories as make

pytestmark = pytest.mark.django_db(transaction=True)


def filled() -> set[str]:
    """The tables that have rows."""
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table for model in models if model._default_manager.exists()}


def begin_a_task() -> None:
    campaign, labeler = make.campaign(), make.user()
    make.acknowledge(labeler, campaign)
    make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.all(), now=make.NOW)
    leases.claim(campaign_id=campaign.id, labeler=labeler, now=make.NOW)


@pytest.mark.parametrize("large", [databases.LARGE, 0], ids=["deleted", "truncated"])
def test_every_table_is_emptied_but_those_that_migrate_fills(monkeypatch, large):
    monkeypatch.setattr(databases, "LARGE", large)
    begin_a_task()
    # Triggers forbid a DELETE of the last two.
    assert filled() > {"accounts_user", "pools_prompt", "work_event", "guidelines_guidelineversion"}
    databases.empty_tables()
    assert filled() == databases.OF_DJANGO


def test_the_triggers_that_forbid_a_delete_are_back_afterwards():
    begin_a_task()
    databases.empty_tables()
    begin_a_task()
    with pytest.raises(DatabaseError):
        Event.objects.all().delete()
    assert Event.objects.exists()
