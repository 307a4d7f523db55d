import pytest

from annotate.instructions.actions import NoBriefs, TakesNoBriefs, TooManyBriefs, add_briefs
from annotate.instructions.models import Brief
from annotate.pools.models import Kind
from annotate.work.models import Assignment
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = make.NOW


@pytest.fixture
def campaign():
    return make.campaign("instructions", rewrite_pool=False, overlap=2)


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.FEW_SHOT])
def test_so_many_tasks_as_asked_for_each_with_its_slots(campaign, kind):
    add_briefs(campaign=campaign, kind=kind, count=3, now=NOW)
    assert list(Brief.objects.values_list("kind", "use_case")) == [(kind, "")] * 3
    assert Assignment.objects.filter(campaign=campaign, task__prompt=None).count() == 6


def test_a_task_for_each_use_case(campaign):
    add_briefs(
        campaign=campaign, kind=Kind.USER_BASED, use_cases=["Plan a trip", "", "  ", "Write to a landlord "], now=NOW
    )
    assert list(Brief.objects.order_by("id").values_list("use_case", flat=True)) == [
        "Plan a trip",
        "Write to a landlord",
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": Kind.PLAIN},
        {"kind": Kind.PLAIN, "count": -1},
        {"kind": Kind.USER_BASED, "use_cases": [" ", "\u200b"], "count": 3},
    ],
)
def test_nothing_asked_is_refused(campaign, asked):
    with pytest.raises(NoBriefs):
        add_briefs(campaign=campaign, now=NOW, **asked)


def test_more_than_five_hundred_at_once_are_refused(campaign):
    with pytest.raises(TooManyBriefs):
        add_briefs(campaign=campaign, kind=Kind.PLAIN, count=501, now=NOW)


def test_a_campaign_of_another_kind_takes_none():
    with pytest.raises(TakesNoBriefs):
        add_briefs(campaign=make.campaign(), kind=Kind.PLAIN, count=1, now=NOW)


def test_a_closed_campaign_takes_none():
    closed = make.campaign("instructions", state="closed", closed_at=NOW)
    with pytest.raises(TakesNoBriefs):
        add_briefs(campaign=closed, kind=Kind.PLAIN, count=1, now=NOW)
