"""Creating and changing campaigns: what may still change when, and the form that shows it."""

import pytest

from annotate.accounts.models import Cohort, Role
from annotate.work import filling, refusals
from annotate.work.forms import CampaignForm
from annotate.work.models import Campaign, Order
from annotate.work.states import CampaignState
from annotate.workflows.actions import NoSuchWorkflow, change_campaign, create_campaign
from annotate.workflows.table import WORKFLOWS
from tests import factories as make
from tests.work.conftest import NOW
from tests.work.test_campaign import draft_campaign


def values(**changes):
    return {
        "name": "Answers",
        "pool": make.pool().id,
        "guideline": make.guideline().id,
        "overlap": 2,
        "order": Order.DEPTH,
        "order_seed": 0,
        "skip_limit": 3,
        "undo_minutes": 5,
        "cohorts": [Cohort.TRAINING],
        "review_percent": 10,
        "lease_minutes": 30,
        **changes,
    }


@pytest.mark.django_db
def test_a_form_becomes_a_draft():
    labeler, manager = make.user(), make.user(Role.MANAGER)
    form = CampaignForm(values(labelers=[labeler.id]))
    assert form.is_valid(), form.errors
    campaign = create_campaign(by=manager, now=NOW, workflow="demonstrations", **form.cleaned_data)
    campaign.refresh_from_db()
    assert (campaign.state, campaign.created_by, campaign.overlap) == (CampaignState.DRAFT, manager, 2)
    assert campaign.cohorts == ["training"]
    assert list(campaign.labelers.all()) == [labeler]


@pytest.mark.parametrize(
    ("workflow", "fields"),
    [
        ("demonstrations", None),
        ("rankings", {"slate_min", "slate_max", "policies"}),
        ("instructions", {"target_pool", "rewrite_pool"}),
    ],
)
@pytest.mark.django_db
def test_each_workflow_has_its_own_fields(workflow, fields):
    form = WORKFLOWS[workflow].settings_form
    assert (form and set(form().fields)) == fields
    assert not set(CampaignForm().fields) & (fields or set())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"overlap": 0}, "overlap"),
        ({"review_percent": 101}, "review_percent"),
        ({"cohorts": []}, "cohorts"),
        ({"cohorts": ["friends"]}, "cohorts"),
    ],
)
@pytest.mark.django_db
def test_what_makes_no_sense_is_refused_at_its_field(changes, field):
    form = CampaignForm(values(**changes))
    assert set(form.errors) == {field}


@pytest.mark.parametrize(
    ("workflow", "settings", "field"),
    [
        ("rankings", {"slate_min": 6, "slate_max": 5}, "slate_max"),
        ("rankings", {"slate_min": 3, "slate_max": 5}, "slate_min"),
        ("instructions", {"target_pool": ""}, "target_pool"),
    ],
)
@pytest.mark.django_db
def test_settings_that_make_no_sense_are_refused_at_their_field(workflow, settings, field):
    assert set(WORKFLOWS[workflow].settings_form(settings).errors) == {field}


@pytest.mark.django_db
def test_only_active_labelers_can_be_named():
    for person in (make.user(Role.REVIEWER), make.user(is_active=False)):
        form = CampaignForm(values(labelers=[person.id]))
        assert set(form.errors) == {"labelers"}


@pytest.mark.django_db
def test_a_taken_name_is_refused_by_the_form_and_by_the_action():
    taken = make.campaign()
    assert set(CampaignForm(values(name=taken.name)).errors) >= {"name"}
    columns = {"name": taken.name, "workflow": "demonstrations", "pool": taken.pool}
    with pytest.raises(refusals.NameTaken):
        create_campaign(by=None, now=NOW, guideline=taken.guideline, **columns)
    assert Campaign.objects.count() == 1


@pytest.mark.django_db
def test_a_draft_changes_in_everything():
    campaign, pool, policy = draft_campaign(workflow="rankings"), make.pool(), make.policy()
    change_campaign(campaign=campaign, now=NOW, pool=pool, overlap=3, settings={"slate_max": 5, "policies": [policy]})
    campaign.refresh_from_db()
    settings = campaign.rankingsettings
    assert (campaign.pool, campaign.overlap) == (pool, 3)
    assert (settings.slate_max, list(settings.policies.all())) == (5, [policy])


@pytest.mark.django_db
def test_the_settings_of_an_open_campaign_are_fixed():
    campaign = make.campaign("rankings")
    with pytest.raises(refusals.CampaignFixed):
        change_campaign(campaign=campaign, now=NOW, settings={"slate_max": 5})
    campaign.rankingsettings.refresh_from_db()
    assert campaign.rankingsettings.slate_max == 9


@pytest.mark.django_db
def test_a_workflow_that_does_not_exist_is_refused():
    with pytest.raises(NoSuchWorkflow):
        create_campaign(by=None, now=NOW, workflow="juggling", name="x", pool=make.pool(), guideline=make.guideline())
    assert not Campaign.objects.exists()


@pytest.mark.django_db
def test_an_open_campaign_changes_in_what_leaves_its_answers_alike():
    campaign, labeler = make.campaign(), make.user()
    form = CampaignForm(instance=campaign)
    assert set(form.fields) == {
        "name",
        "labelers",
        "qualifications",
        "overlap",
        "review_percent",
        "lease_minutes",
        "skip_limit",
        "undo_minutes",
    }
    change_campaign(campaign=campaign, now=NOW, name="New name", review_percent=50, labelers=[labeler])
    campaign.refresh_from_db()
    assert (campaign.name, campaign.review_percent, list(campaign.labelers.all())) == ("New name", 50, [labeler])
    with pytest.raises(refusals.CampaignFixed):
        change_campaign(campaign=campaign, now=NOW, order=Order.RANDOM)


@pytest.mark.django_db
def test_a_closed_campaign_changes_in_nothing():
    campaign = make.campaign(state=CampaignState.CLOSED, closed_at=NOW)
    with pytest.raises(refusals.CampaignFixed):
        change_campaign(campaign=campaign, now=NOW, name="New name")


@pytest.mark.django_db
def test_an_open_campaign_is_never_left_without_people():
    labeler = make.user()
    campaign = make.campaign(cohorts=[])
    campaign.labelers.add(labeler)
    with pytest.raises(refusals.NobodyMayWork):
        change_campaign(campaign=campaign, now=NOW, labelers=[])
    assert list(campaign.labelers.all()) == [labeler]


@pytest.mark.django_db
def test_the_order_stands_once_there_are_slots():
    campaign = draft_campaign(workflow="instructions")
    filling.add_task(campaign=campaign, now=NOW)
    for changed in ({"order": Order.RANDOM}, {"order_seed": 7}):
        with pytest.raises(refusals.OrderFixed):
            change_campaign(campaign=campaign, now=NOW, **changed)
    form = CampaignForm(instance=campaign)
    assert form.fields["order"].disabled
    assert form.fields["order_seed"].disabled
    change_campaign(campaign=campaign, now=NOW, order=Order.DEPTH, name="The same order")
