"""A labeler's day, through the real pages."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.accounts.models import User
from annotate.guidelines.actions import publish as guidelines_publish
from annotate.guidelines.actions import save_draft
from annotate.guidelines.models import Guideline, GuidelineVersion
from annotate.instructions.actions import sweep
from annotate.work.models import Assignment, Campaign
from annotate.workflows.table import workflow_of
from tests import factories as make

NOW = make.NOW


@dataclass
class Labeler:
    """A person at the desk, and what they can do there."""

    user: User
    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        self.client.force_login(self.user)

    def take(self, campaign: Campaign) -> Assignment:
        """Claim by the page's button; the assignment that its redirect leads to."""
        response = self.post("next", campaign.id)
        assert response.status_code == 302, response.content.decode()
        return Assignment.objects.get(id=int(response.url.rstrip("/").rsplit("/", 1)[1]))

    def get(self, name: str, *args: Any, **query: Any) -> Any:
        return self.client.get(reverse(f"desk:{name}", args=args), query)

    def post(self, name: str, *args: Any, data: Any = None, **more: Any) -> Any:
        return self.client.post(reverse(f"desk:{name}", args=args), data or {}, **more)

    def submit(self, assignment: Assignment, *, key: Any = None, **data: Any) -> Any:
        return self.post("submit", assignment.id, data={"submit_key": str(key or uuid4()), **data})

    def submit_by_script(self, assignment: Assignment, *, key: Any = None, **data: Any) -> Any:
        """As static/js/submit.js does."""
        headers = {"accept": "application/json, text/html", "x-person": str(self.user.id)}
        data = {"submit_key": str(key or uuid4()), **data}
        return self.post("submit", assignment.id, data=data, headers=headers)

    def save(self, assignment: Assignment, *, seen: str | None = None, **body: Any) -> Any:
        data = {"body": body} | ({} if seen is None else {"seen": seen})
        return self.post("draft", assignment.id, data=data, content_type="application/json")


def undo_of(assignment: Assignment) -> str:
    """What a page contains that offers to undo the assignment's submit."""
    return f'action="{reverse("desk:undo", args=[assignment.id])}"'


@pytest.fixture
def labeler(db):
    """labeler(campaign...): somebody who has acknowledged the guidelines of these campaigns."""

    def sit_down(*campaigns: Campaign, **fields: Any) -> Labeler:
        person = make.user(**fields)
        for campaign in campaigns:
            make.acknowledge(person, campaign)
        return Labeler(person)

    return sit_down


@pytest.fixture
def demonstrations(db):
    """An open demonstration campaign over so many prompts."""

    def open_campaign(prompts: int = 1, **fields: Any) -> Campaign:
        pool = make.pool()
        for _ in range(prompts):
            make.prompt(pool)
        return filled(make.campaign("demonstrations", over=pool, **fields))

    return open_campaign


@pytest.fixture
def rankings(db):
    """An open ranking campaign: so many prompts, each with the texts of one slate, a policy each."""

    def open_campaign(prompts: int = 1, *, k: int = 4, texts: tuple[str, ...] = (), **fields: Any) -> Campaign:
        pool = make.pool()
        policies = [make.policy() for _ in range(len(texts) or k)]
        for _ in range(prompts):
            prompt = make.prompt(pool)
            for policy, text in zip(policies, texts or [None] * k, strict=True):
                make.completion(prompt, policy, text)
        return filled(make.campaign("rankings", over=pool, **fields))

    return open_campaign


@pytest.fixture
def instructions(db):
    """An open instruction campaign that rewrites so many prompts."""

    def open_campaign(prompts: int = 1, **fields: Any) -> Campaign:
        pool = make.pool()
        for number in range(prompts):
            make.prompt(pool, f"Write something about a frog, number {number}.", category="generation")
        return filled(make.campaign("instructions", over=pool, target_pool=make.pool(), **fields))

    return open_campaign


def filled(campaign: Campaign) -> Campaign:
    while workflow_of(campaign).fill(campaign=campaign, now=NOW):
        pass
    return campaign


def make_prompts() -> None:
    """What the worker does when the minutes to take an instruction back are over."""
    sweep(now=timezone.now() + 6 * make.MINUTE)


def publish(guideline: Guideline, body: str) -> GuidelineVersion:
    """The guideline's next version."""
    author = make.user("manager")
    save_draft(guideline=guideline, body=body, summary="What is new", by=author, now=NOW)
    return guidelines_publish(guideline=guideline, now=NOW)


def marks(count: int, *, places: str = "", ratings: str = "") -> dict[str, str]:
    """Form fields of a complete ranking: all tied in place 1 and rated 4, unless told otherwise letter by letter."""
    values: dict[str, str] = {}
    for letter, place, rating in zip("ABCDEFGHI"[:count], places or "1" * count, ratings or "4" * count, strict=True):
        values |= {f"place-{letter}": place, f"rating-{letter}": rating}
    return values
