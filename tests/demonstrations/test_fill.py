import pytest

from annotate.demonstrations import workflow
from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.work.models import Assignment, Task
from tests import factories as make

pytestmark = pytest.mark.django_db


def test_every_prompt_of_the_pool_gets_a_task_with_its_slots():
    pool = make.pool()
    prompts = [make.prompt(pool) for _ in range(3)]
    make.prompt(make.pool())
    campaign = make.campaign(over=pool, overlap=2)
    assert DEMONSTRATIONS.fill(campaign=campaign, now=make.NOW) == 3
    assert list(Task.objects.order_by("id").values_list("prompt", flat=True)) == [prompt.id for prompt in prompts]
    assert Assignment.objects.filter(campaign=campaign).count() == 6


def test_filling_again_adds_only_what_is_new():
    pool = make.pool()
    make.prompt(pool)
    campaign = make.campaign(over=pool)
    assert DEMONSTRATIONS.fill(campaign=campaign, now=make.NOW) == 1
    assert DEMONSTRATIONS.fill(campaign=campaign, now=make.NOW) == 0
    make.prompt(pool)
    assert DEMONSTRATIONS.fill(campaign=campaign, now=make.NOW) == 1


def test_another_campaign_over_the_same_pool_has_its_own_tasks():
    pool = make.pool()
    make.prompt(pool)
    assert [DEMONSTRATIONS.fill(campaign=make.campaign(over=pool), now=make.NOW) for _ in range(2)] == [1, 1]


def test_a_call_makes_a_bounded_number_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(workflow, "FILL_BATCH", 2)
    pool = make.pool()
    for _ in range(5):
        make.prompt(pool)
    campaign = make.campaign(over=pool)
    assert [DEMONSTRATIONS.fill(campaign=campaign, now=make.NOW) for _ in range(4)] == [2, 2, 1, 0]
