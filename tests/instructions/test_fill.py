import pytest

from annotate.instructions.workflow import INSTRUCTIONS
from annotate.work.models import Task
from tests import factories as make

pytestmark = pytest.mark.django_db


def test_every_prompt_of_the_pool_is_to_be_rewritten():
    pool = make.pool()
    for _ in range(2):
        make.prompt(pool)
    campaign = make.campaign("instructions", over=pool)
    assert [INSTRUCTIONS.fill(campaign=campaign, now=make.NOW) for _ in range(2)] == [2, 0]


def test_none_is_where_only_briefs_are_answered():
    pool = make.pool()
    make.prompt(pool)
    assert INSTRUCTIONS.fill(campaign=make.campaign("instructions", over=pool, rewrite_pool=False), now=make.NOW) == 0
    assert not Task.objects.exists()
