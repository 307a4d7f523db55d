"""Create people, guidelines, prompts, a small policy and open campaigns, through the actions that the pages use.

Existing rows stay as they are.
"""

from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext

from annotate.accounts.actions import invite
from annotate.accounts.models import Cohort, Role, User
from annotate.guidelines.actions import create_guideline, publish
from annotate.guidelines.models import Guideline
from annotate.lib.refusals import Refusal
from annotate.pools.actions import create_pool
from annotate.pools.importers import jobs, prompts
from annotate.pools.models import ImportKind, Pool
from annotate.samples import policies, runs
from annotate.samples.models import Origin, Policy, Stage
from annotate.samples.spec import PolicySpec
from annotate.work.models import Campaign
from annotate.work.states import CampaignState
from annotate.work.workflow import DemoCampaign
from annotate.workflows.actions import change_state, create_campaign
from annotate.workflows.table import WORKFLOWS
from annotate.workflows.tasks import fill_campaigns

# A path and not an import: this package must not import the worker.
POLICY = settings.BASE_DIR / "models_worker" / "demo_policy"
PROMPTS = POLICY / "prompts.jsonl"
# Enough for the first rankings. The tour samples the rest.
PROMPTS_SAMPLED = 8
CANDIDATES = 4

PEOPLE = (
    ("labeler", Role.LABELER, Cohort.TRAINING),
    ("labeler2", Role.LABELER, Cohort.TRAINING),
    ("labeler-held-out", Role.LABELER, Cohort.HELD_OUT),
    ("reviewer", Role.REVIEWER, Cohort.TRAINING),
)


class NoPrompts(Refusal):
    def __str__(self) -> str:
        return gettext("%(file)s is missing. Restore it: the demonstration needs its prompts.") % {"file": PROMPTS}


def load(*, passwords: Mapping[Role, str], now: datetime) -> list[str]:
    """Load the data in one transaction. Return the created logins. Raises NoPrompts."""
    with transaction.atomic():
        manager, created = _people(passwords, now)
        pool = _prompts(now)
        policy = _policy(manager, now)
        _campaigns(pool, manager, now)
        if not pool.runs.exists():
            runs.start(
                pool=pool,
                policy=policy,
                k=CANDIDATES,
                temperature=1.0,
                top_p=0.95,
                max_new_tokens=96,
                stop=[],
                seed=1,
                by=manager,
                now=now,
                prompts=pool.prompts.order_by("id")[:PROMPTS_SAMPLED],
            )
    return created


def _people(passwords: Mapping[Role, str], now: datetime) -> tuple[User, list[str]]:
    created = []
    manager = User.objects.filter(username="manager").first()
    if manager is None:
        # Nobody can invite the first user.
        manager = User.objects.create_user("manager", password=passwords[Role.MANAGER], role=Role.MANAGER)
        created.append(manager.username)
    for username, role, cohort in PEOPLE:
        if not User.objects.filter(username=username).exists():
            row = {"username": username, "role": role, "cohort": cohort, "email": "", "full_name": ""}
            user = invite(**row, site="", by=manager, now=now).user
            user.set_password(passwords[role])
            user.save(update_fields=["password"])
            created.append(username)
    # After the passwords, because setting one clears this flag.
    User.objects.filter(username__in=created).update(is_demo=True)
    return manager, created


def _prompts(now: datetime) -> Pool:
    name = "Demonstration prompts"
    pool = Pool.objects.filter(name=name).first()
    if pool is not None:
        return pool
    if not PROMPTS.exists():
        raise NoPrompts
    pool = create_pool(name=name, description="What people might ask a small assistant.", now=now)
    with PROMPTS.open("rb") as file:
        job = jobs.store(
            pool=pool, kind=ImportKind.PROMPTS, file_name=PROMPTS.name, data=file, defaults={}, by=None, now=now
        )
    jobs.run(job_id=job.id, take=prompts.take, clock=lambda: now)
    return pool


def _policy(manager: User, now: datetime) -> Policy:
    policy = Policy.objects.filter(name="demo", revision="1").first()
    if policy is None:
        spec = PolicySpec(
            name="demo", revision="1", stage=Stage.SFT, origin=Origin.LOCAL, location=str(POLICY / "weights")
        )
        policy = policies.create(spec=spec, now=now)
        policies.move_current(stage=Stage.SFT, policy=policy, by=manager, now=now)
    return policy


def _campaigns(pool: Pool, manager: User, now: datetime) -> None:
    for workflow in WORKFLOWS.values():
        demo = workflow.demo(pool=pool, now=now)
        if demo and not Campaign.objects.filter(name=demo.name).exists():
            campaign = create_campaign(
                name=demo.name,
                workflow=workflow.key,
                pool=pool,
                guideline=_guideline(demo, manager, now),
                by=manager,
                now=now,
                settings=demo.settings,
                **demo.columns,
            )
            workflow.fill_demo(campaign=campaign, now=now)
            change_state(campaign=campaign, to=CampaignState.OPEN, now=now)
    fill_campaigns(pool.id)


def _guideline(demo: DemoCampaign, manager: User, now: datetime) -> Guideline:
    guideline = Guideline.objects.filter(name=demo.guideline).first()
    if guideline is None:
        guideline = create_guideline(name=demo.guideline, body=demo.guideline_text.read_text(), by=manager, now=now)
        publish(guideline=guideline, now=now)
    return guideline
