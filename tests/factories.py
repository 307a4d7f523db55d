"""Rows for tests, made as plainly as the models allow. Everything not given takes a value that changes no outcome."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from annotate.accounts.models import ApiToken, Cohort, Role, User
from annotate.accounts.tokens import digest
from annotate.guidelines.models import Acknowledgement, Guideline, GuidelineVersion
from annotate.lib.text import text_hash
from annotate.pools.models import Kind, Pool, Prompt, PromptGroup, Source, Split
from annotate.pools.rules import content_hash
from annotate.samples.models import Completion, FinishReason, Origin, Policy
from annotate.samples.policies import create as create_policy
from annotate.samples.spec import PolicySpec
from annotate.work.models import Campaign, Draft
from annotate.workflows.table import WORKFLOWS

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
_numbers = itertools.count(1)


def user(role: str = Role.LABELER, *, username: str = "", cohort: str = Cohort.TRAINING, **fields: Any) -> User:
    number = next(_numbers)
    row = User(username=username or f"{role}{number}", role=role, cohort=cohort, **fields)
    row.set_unusable_password()
    row.save()
    return row


def api_token(of: User) -> str:
    """A key for the API, also of people whom the API refuses."""
    key = f"key-{next(_numbers)}"
    ApiToken.objects.create(user=of, digest=digest(key), hint=key[:4], created_at=NOW)
    return key


def guideline(name: str = "", *, body: str = "Be helpful, truthful and harmless.") -> Guideline:
    """A guideline whose version 1 is published."""
    row = Guideline.objects.create(name=name or f"guideline {next(_numbers)}", created_at=NOW)
    GuidelineVersion.objects.create(
        guideline=row, number=1, body=body, created_by=user(Role.MANAGER), created_at=NOW, published_at=NOW
    )
    return row


def acknowledge(labeler: User, campaign: Campaign) -> GuidelineVersion:
    version = campaign.guideline.versions.exclude(published_at=None).order_by("-number").first()
    assert version is not None
    Acknowledgement.objects.get_or_create(version=version, labeler=labeler, defaults={"acknowledged_at": NOW})
    return version


def pool(name: str = "") -> Pool:
    return Pool.objects.create(name=name or f"pool {next(_numbers)}", created_at=NOW)


def group(key: str = "", split: str = Split.TRAIN) -> PromptGroup:
    return PromptGroup.objects.create(key=key or f"group {next(_numbers)}", split=split, created_at=NOW)


def prompt(in_pool: Pool, text: str = "", *, in_group: PromptGroup | None = None, **fields: Any) -> Prompt:
    text = text or f"Write a line about the number {next(_numbers)}."
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": text}],
        "text": text,
        "content_hash": content_hash([{"role": "user", "content": text}]),
        "kind": Kind.PLAIN,
        "source": Source.LABELER,
        "authors": [fields["author"].id] if fields.get("author") else [],
        "created_at": NOW,
    }
    return Prompt.objects.create(pool=in_pool, group=in_group or group(), **(values | fields))


def policy(name: str = "", **fields: Any) -> Policy:
    values: dict[str, Any] = {"origin": Origin.LOCAL, "location": "/models/tiny", "created_at": NOW}
    return Policy.objects.create(name=name or f"policy {next(_numbers)}", **(values | fields))


def server_policy(location: str = "http://127.0.0.1:8000/v1", **fields: Any) -> Policy:
    """A policy behind a server, which waits to be probed."""
    values: dict[str, Any] = {"revision": "1", "stage": "sft", "served_model": "tiny", "endpoint": "chat"}
    spec = PolicySpec(name=f"policy {next(_numbers)}", origin=Origin.SERVER, location=location, **(values | fields))
    return create_policy(spec=spec, now=NOW)


def completion(of: Prompt, by: Policy, text: str | None = None) -> Completion:
    """An imported completion."""
    text = f"Completion {next(_numbers)}." if text is None else text
    return Completion.objects.create(
        prompt=of,
        policy=by,
        text=text,
        text_hash=text_hash(text),
        finish_reason=FinishReason.IMPORTED,
        policy_revision=by.revision,
        created_at=NOW,
    )


def campaign(workflow: str = "demonstrations", *, over: Pool | None = None, **fields: Any) -> Campaign:
    """An open campaign without tasks, for labelers of the training cohort. `fields`: its columns and its settings."""
    in_pool = over or pool()
    model = WORKFLOWS[workflow].settings_model
    names = {field.name for field in model._meta.get_fields()} if model else set()
    settings = {"target_pool": in_pool} if "target_pool" in names else {}
    settings |= {name: fields.pop(name) for name in names & fields.keys()}
    values: dict[str, Any] = {
        "name": f"campaign {next(_numbers)}",
        "guideline": fields.pop("guideline", None) or guideline(),
        "cohorts": [Cohort.TRAINING],
        "state": "open",
        "created_at": NOW,
        "opened_at": NOW,
    }
    made = Campaign.objects.create(workflow=workflow, pool=in_pool, **(values | fields))
    if model:
        policies = settings.pop("policies", [])
        row = model.objects.create(campaign=made, **settings)
        if policies:
            row.policies.set(policies)
    return made


def draft_of(labeler: User, task_id: int) -> Draft | None:
    """What the labeler has typed for the task and not handed in."""
    return Draft.objects.filter(labeler=labeler, task=task_id).first()
