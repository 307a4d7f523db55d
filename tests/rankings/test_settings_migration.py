"""Campaigns of an earlier version keep what is now in the settings of their workflow."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from annotate.work.models import Campaign
from tests import factories as make

BEFORE = [
    ("work", "0008_plain_labels"),
    ("rankings", "0002_judge_by_exact_texts"),
    ("edits", "0004_settle_instructions"),
]


def migrate(targets):
    executor = MigrationExecutor(connection)
    executor.migrate(targets)


@pytest.mark.django_db(transaction=True)
def test_the_settings_of_old_campaigns_move_to_their_workflow_and_back():
    policy, target = make.policy(), make.pool()
    ranked = make.campaign("rankings", slate_min=5, slate_max=7, policies=[policy])
    written = make.campaign("instructions", target_pool=target, rewrite_pool=False)
    demonstrated = make.campaign()
    leaves = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        migrate(BEFORE)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT workflow, slate_min, slate_max, target_pool_id, rewrite_pool FROM work_campaign ORDER BY id"
            )
            rows = cursor.fetchall()
            cursor.execute("SELECT campaign_id, policy_id FROM work_campaign_policies")
            named = cursor.fetchall()
    finally:
        migrate(leaves)
    assert rows[0][:3] == ("rankings", 5, 7)
    assert (rows[1][0], rows[1][3:]) == ("edits", (target.id, False))
    assert named == [(ranked.id, policy.id)]
    ranked, written, demonstrated = Campaign.objects.order_by("id")
    settings = ranked.rankingsettings
    assert (settings.slate_min, settings.slate_max, list(settings.policies.all())) == (5, 7, [policy])
    settings = written.instructionsettings
    assert (written.workflow, settings.target_pool, settings.rewrite_pool) == ("instructions", target, False)
    assert not hasattr(demonstrated, "rankingsettings")
