from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction

from annotate.accounts.models import User
from annotate.work import actions, leases
from annotate.work.models import Assignment, Campaign
from tests import factories as make

NOW = make.NOW
LATER = NOW + timedelta(hours=2)


@dataclass
class Desk:
    """A campaign and the verbs of the engine on it, at NOW unless told otherwise."""

    campaign: Campaign

    def labeler(self, **fields: str) -> User:
        person = make.user(**fields)
        make.acknowledge(person, self.campaign)
        return person

    def claim(self, labeler, *, now=NOW) -> Assignment:
        return leases.claim(campaign_id=self.campaign.id, labeler=labeler, now=now)

    def submit(self, assignment, labeler, *, key=None, now=NOW, replaces=None) -> leases.Submission:
        with transaction.atomic():
            return leases.submit(
                assignment_id=assignment.id,
                labeler=labeler,
                submit_key=key or uuid4(),
                now=now,
                replaces=lambda _earlier: replaces,
            )

    def answer(self, labeler, *, now=NOW) -> Assignment:
        return self.submit(self.claim(labeler, now=now), labeler, now=now).assignment

    def draft(self, assignment, labeler, text="half a sentence", *, now=NOW):
        return leases.save_draft(task_id=assignment.task_id, labeler=labeler, body={"text": text}, now=now)


@pytest.fixture
def open_desk(db):
    """open_desk(tasks, **campaign fields): a desk on an open campaign of that many tasks."""

    def open_campaign(tasks: int = 1, **fields) -> Desk:
        pool = make.pool()
        for _ in range(tasks):
            make.prompt(pool)
        campaign = make.campaign(over=pool, **fields)
        actions.add_tasks(campaign=campaign, prompts=pool.prompts.order_by("id"), now=NOW)
        return Desk(campaign)

    return open_campaign
