"""May a labeler work in a campaign?"""

from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.lib.sql import load_statements
from annotate.work.models import Campaign
from annotate.work.rules import may_work
from annotate.work.shapes import CAMPAIGN

SQL = load_statements(Path(__file__).parent / "sql/eligibility.sql", campaign=CAMPAIGN)


@dataclass(frozen=True)
class Eligibility:
    """A campaign and what decides whether one labeler may work in it. The fields have the order of the SQL result."""

    campaign: Campaign
    # The current version of the guideline, and whether the labeler has acknowledged it.
    version_id: int | None
    acknowledged: bool
    # Whether the campaign names any labelers, and this one among them.
    anyone_named: bool
    named: bool
    # Whether the labeler has all required qualifications.
    qualified: bool

    def allows(self, labeler: User) -> bool:
        return may_work(
            role=labeler.role,
            cohort=labeler.cohort,
            cohorts=self.campaign.cohorts,
            anyone_named=self.anyone_named,
            named=self.named,
            qualified=self.qualified,
        )


def eligibility(campaign_id: int, labeler: User) -> Eligibility | None:
    """Load a campaign and the labeler's eligibility in one query. None: the campaign does not exist."""
    with connection.cursor() as cursor:
        execute(cursor, SQL["eligibility"], {"campaign": campaign_id, "labeler": labeler.id})
        row = cursor.fetchone()
    if row is None:
        return None
    campaign, rest = CAMPAIGN.made(row)
    return Eligibility(campaign, *rest)


def is_eligible(campaign: Campaign, labeler: User) -> bool:
    current = eligibility(campaign.id, labeler)
    return current is not None and current.allows(labeler)
