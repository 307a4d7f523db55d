from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings

from annotate.accounts.models import Role, User
from annotate.work import drafts, filling, leases, review, submitting
from annotate.work.campaigns import change_campaign
from annotate.work.models import Assignment, Campaign, Skip, SkipReason
from annotate.work.states import State
from tests import factories as make

NOW = make.NOW
LATER = NOW + timedelta(hours=2)

# test_model.py says how to look for what nobody has thought of yet.
settings.register_profile(
    "long",
    max_examples=100_000,
    stateful_step_count=30,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Desk:
    """A campaign and the verbs of the engine on it, at NOW unless told otherwise."""

    campaign: Campaign

    def labeler(self, **fields: Any) -> User:
        person = make.user(**fields)
        make.acknowledge(person, self.campaign)
        return person

    def claim(self, labeler, *, now=NOW) -> Assignment:
        return leases.claim(campaign_id=self.campaign.id, labeler=labeler, now=now)

    def ahead(self, labeler, *, now=NOW) -> Assignment:
        return leases.prefetch(campaign_id=self.campaign.id, labeler=labeler, now=now)

    def release_prefetched(self, labeler, *, now=NOW) -> None:
        leases.release_prefetched(campaign_id=self.campaign.id, labeler=labeler, now=now)

    def skip(self, assignment, labeler, *, now=NOW) -> Skip:
        return leases.skip(assignment_id=assignment.id, labeler=labeler, reason=SkipReason.UNCLEAR, note="", now=now)

    def release(self, assignment, labeler, *, now=NOW) -> Assignment:
        return leases.release(assignment_id=assignment.id, labeler=labeler, now=now)

    def undo(self, assignment, labeler, *, now=NOW) -> Assignment:
        with transaction.atomic():
            return submitting.undo(assignment_id=assignment.id, labeler=labeler, now=now)

    def send_back(self, assignment, *, now=NOW) -> Assignment:
        with transaction.atomic():
            reviewer = make.user(Role.REVIEWER)
            return review.send_back(assignment_id=assignment.id, reviewer=reviewer, comment="Shorter.", now=now)

    def change_overlap(self, overlap: int, *, now=NOW) -> None:
        self.campaign = change_campaign(campaign=self.campaign, overlap=overlap)
        while filling.match_overlap(campaign=self.campaign, now=now):
            pass

    def states(self, assignment) -> list[State]:
        """Of all slots of the assignment's task, by number."""
        return list(Assignment.objects.filter(task=assignment.task_id).order_by("slot").values_list("state", flat=True))

    def submit(self, assignment, labeler, *, key=None, now=NOW, replaces=None) -> submitting.Submission:
        with transaction.atomic():
            return submitting.submit(
                assignment_id=assignment.id,
                labeler=labeler,
                submit_key=key or uuid4(),
                now=now,
                replaces=lambda _earlier: replaces,
            )

    def answer(self, labeler, *, now=NOW) -> Assignment:
        return self.submit(self.claim(labeler, now=now), labeler, now=now).assignment

    def draft(self, assignment, labeler, text="half a sentence", *, now=NOW):
        return drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body={"text": text}, now=now)


@pytest.fixture
def open_desk(db):
    """open_desk(tasks, **campaign fields): a desk on an open campaign of that many tasks, or one for each of `prompts`,
    which are given as their fields."""

    def open_campaign(tasks: int = 1, *, prompts: Sequence[dict[str, Any]] = (), **fields) -> Desk:
        pool = make.pool()
        for prompt in prompts or [{}] * tasks:
            make.prompt(pool, **prompt)
        campaign = make.campaign(over=pool, **fields)
        filling.add_tasks(campaign=campaign, prompts=pool.prompts.order_by("id"), now=NOW)
        return Desk(campaign)

    return open_campaign
