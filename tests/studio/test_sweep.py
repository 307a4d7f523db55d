"""One command does once what beat asks the workers to do."""

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.work.models import Assignment
from annotate.work.states import CampaignState, State
from exports.actions import request_export
from exports.models import Export, ExportState
from tests import factories as make
from tests.desk.conftest import demonstrations, instructions, labeler
from tests.instructions.test_submit import rewriting

__all__ = ["demonstrations", "instructions", "labeler"]


@pytest.fixture
def work_for_every_sweep(transactional_db, labeler, instructions, demonstrations, manager):
    """An ended lease, an instruction that cannot be taken back, a campaign without its tasks, a waiting export."""
    campaign, other = instructions(undo_minutes=0), demonstrations()
    me = labeler(campaign, other)
    me.submit(me.take(campaign), **rewriting())
    lost = me.take(other)
    Assignment.objects.filter(id=lost.id).update(leased_until=timezone.now() - make.MINUTE)
    # Over the pool that the instructions go to: its tasks come from what the sweep before has made.
    onward = make.campaign(over=campaign.instructionsettings.target_pool)
    return campaign, lost, onward, request_export(campaigns=[campaign], by=manager, now=timezone.now())


def all_done(campaign, lost, onward, export):
    lost.refresh_from_db()
    return (
        lost.state == State.OPEN
        and campaign.instructionsettings.target_pool.prompts.count() == 1
        and onward.tasks.count() == 1
        and Export.objects.get(id=export.id).state == ExportState.DONE
    )


def test_it_does_the_work_of_every_sweep(work_for_every_sweep):
    call_command("sweep")
    assert all_done(*work_for_every_sweep)
    call_command("sweep")
    assert all_done(*work_for_every_sweep)


def test_it_cancels_what_a_closed_campaign_left_open(demonstrations):
    campaign = demonstrations(prompts=2)
    campaign.state = CampaignState.CLOSED
    campaign.closed_at = timezone.now()
    campaign.save()
    call_command("sweep")
    assert set(campaign.assignments.values_list("state", flat=True)) == {State.CANCELLED}


def test_one_that_fails_keeps_none_of_the_others_from_their_work_and_is_named(work_for_every_sweep, monkeypatch):
    def fail(*, now):
        raise RuntimeError("broken")

    monkeypatch.setattr("annotate.work.leases.sweep", fail)
    with pytest.raises(CommandError, match="free expired leases"):
        call_command("sweep")
    campaign, *_others = work_for_every_sweep
    assert campaign.instructionsettings.target_pool.prompts.count() == 1
    monkeypatch.undo()
    call_command("sweep")
    assert all_done(*work_for_every_sweep)
