"""Whether a labeler may work in a campaign."""

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
    """The fields have the order of the SQL result."""

    campaign: Campaign
    # The current version of the guideline.
    version_id: int | None
    acknowledged: bool
    # The campaign names labelers, and this one among them.
    anyone_named: bool
    named: bool
    # Has all required qualifications.
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
    """None: the campaign does not exist."""
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
