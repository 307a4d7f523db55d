"""A platform in the middle of its work: rows for every page that there is, made by the actions that people use."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.http import QueryDict
from django.utils import timezone

from annotate.accounts import links
from annotate.accounts.actions import change_work, deactivate, invite, save_qualification
from annotate.accounts.models import Cohort, Qualification, Role, User
from annotate.guidelines.actions import acknowledge, create_guideline, publish, save_draft
from annotate.guidelines.models import Guideline
from annotate.instructions.actions import add_briefs
from annotate.pools.actions import create_pool
from annotate.pools.importers import jobs, prompts
from annotate.pools.models import ImportJob, ImportKind, Kind, Pool, Prompt
from annotate.samples import policies as registry
from annotate.samples import requests
from annotate.samples import runs as sampling
from annotate.samples.models import Completion, FinishReason, Origin, Policy, SampleRun, Stage
from annotate.samples.spec import PolicySpec
from annotate.work import drafts, leases, review, submitting
from annotate.work.models import Assignment, Campaign, SkipReason
from annotate.work.states import CampaignState, State
from annotate.workflows.actions import change_campaign, change_state, create_campaign, decide
from annotate.workflows.table import workflow_of
from exports.actions import request_export
from exports.leases import run as run_export
from exports.models import Export
from tests import factories as make
from tests.exports import answers

PASSWORD = "a long enough passphrase"
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"

# What is hard to lay out on a narrow page: wide code, a wide table, a word and an address without a break, another
# direction of writing.
RICH = f"""# A heading of the writer's own

Some *emphasis*, some **more**, `code`, and a [link](https://example.org/{"a-long-path/" * 12}).

1. One
2. Two
   - {LONG_WORD}{LONG_WORD}

> Quoted, twice.

```python
def a_function_with_a_rather_long_name(first_argument, second_argument, third_argument, fourth_argument=None):
    return {{"key": [first_argument, second_argument, third_argument, fourth_argument], "another": "{"x" * 90}"}}
```

| City | Inhabitants | Country | Founded | Mayor | River | Elevation | Area |
|---|---:|---|---|---|---|---:|---:|
| Antananarivo | 1275207 | Madagascar | 1610 | unknown to the writer | Ikopa | 1280 m | 88 km² |

مرحبا بالعالم. هذه فقرة تُكتب من اليمين إلى اليسار.

![a picture](https://example.org/picture.png) <script>alert(1)</script>
"""

CHAT = [
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": "What is a frog?"},
    {"role": "assistant", "content": "An amphibian with long hind legs."},
    {"role": "user", "content": RICH},
]
PAIRS = [{"query": "I love it", "response": "Positive"}, {"query": "Never again", "response": "Negative"}]
LINES: list[Any] = [
    {"messages": CHAT, "category": "chat", "id": "chat-1", "licence": "CC-BY-4.0"},
    {"shots": {"instruction": "Give the sentiment of a tweet.", "pairs": PAIRS}, "category": "classification"},
    {"prompt": "Summarise my meeting notes.", "kind": "user_based", "source": "customer", "source_user": "acme"},
    *({"prompt": f"Tell me fact number {number} about frogs.", "category": "open_qa"} for number in range(60)),
    # And what is refused.
    {"prompt": "Tell me fact number 1 about frogs."},
    {"prompt": ""},
    {"prompt": "A prompt", "category": "gardening"},
]
OUTPUTS = (RICH, "Frogs breathe through their skin.", "Frogs are green.\n\nMost of them.", "", "I do not know.")
BAKERY = "A small bakery answers its customers' messages."


@dataclass
class World:
    now: datetime
    mia: User  # manager
    rea: User  # reviewer
    ada: User  # labeler
    ben: User  # labeler
    cleo: User  # labeler who knows an older version of the guideline
    hedy: User  # held-out labeler, for whom there is no work
    people: list[User]
    pool: Pool
    imports: list[ImportJob]
    guidelines: list[Guideline]
    qualifications: list[Qualification]  # one that cleo has and the draft asks for, one that nobody has
    policies: list[Policy]
    runs: list[SampleRun]
    campaigns: dict[str, Campaign]
    held: list[Assignment]  # by ada, one of each kind
    late: Assignment  # ada's lease has ended, and nobody else has the task
    lost: Assignment  # ada's lease has ended, and somebody else has the task
    answered: list[Assignment]  # by ada, in every state an answer can be in
    exports: list[Export]

    @property
    def prompts(self) -> list[Prompt]:
        """One of each kind, and one with completions, instructions and tasks."""
        return list(self.pool.prompts.order_by("id")[:4])

    def reset_link(self) -> str:
        return links.make(user=self.ben, site="http://localhost/", by=self.mia, now=timezone.now())


def build() -> World:
    now = timezone.now()
    mia = make.user(Role.MANAGER, username="mia", first_name="Mia Moreau", email="mia@example.org")
    people = _people(mia, now)
    rea, ada, ben, cleo, hedy, _gone = people
    pool = create_pool(name="Frogs", description="What people ask about frogs.", now=now)
    imports = _imports(pool, mia, now)
    policies = _policies(mia, now)
    runs = _runs(pool, policies[0], mia, now)
    guidelines = _guidelines(mia, now)
    campaigns = _campaigns(pool, guidelines[0], mia, now)
    _read(guidelines[0], [ada, ben], cleo, now)
    desk = Desk(rea, now)
    answered = _answer(desk, campaigns, ada, ben)
    late, lost = _lose(desk, campaigns, ada, ben)
    _stop(desk, campaigns["paused"], ben)
    held = [desk.claim(ada, campaigns[name]) for name in ("rankings", "rewriting", "plain", "few-shot", "user-based")]
    # One demonstration was sent back, and Ada is writing it again.
    again = submitting.resume(assignment_id=answered[2].id, labeler=ada, now=now)
    _doubly_ranked(runs[0], campaigns["closed"], ada, ben, now)
    return World(
        now=now,
        mia=mia,
        rea=rea,
        ada=ada,
        ben=ben,
        cleo=cleo,
        hedy=hedy,
        people=people,
        pool=pool,
        imports=imports,
        guidelines=guidelines,
        qualifications=_qualifications(cleo, campaigns["draft"]),
        policies=policies,
        runs=runs,
        campaigns=campaigns,
        held=[again, *held],
        late=late,
        lost=lost,
        answered=answered,
        exports=_exports([campaigns[name] for name in ("demonstrations", "rankings", "closed")], mia, now),
    )


def _people(mia: User, now: datetime) -> list[User]:
    rows = (
        ("rea", Role.REVIEWER, Cohort.TRAINING, ""),
        ("ada", Role.LABELER, Cohort.TRAINING, "Ada Lovelace"),
        ("ben", Role.LABELER, Cohort.TRAINING, ""),
        ("cleo", Role.LABELER, Cohort.TRAINING, ""),
        ("hedy", Role.LABELER, Cohort.HELD_OUT, LONG_WORD),
        ("gone", Role.LABELER, Cohort.TRAINING, ""),
    )
    people = []
    for username, role, cohort, name in rows:
        given = {"username": username, "role": role, "cohort": cohort, "full_name": name}
        user = invite(**given, email=f"{username}@example.org", site="http://localhost/", by=mia, now=now).user
        user.set_password(PASSWORD)
        user.save()
        people.append(user)
    deactivate(user=people[-1], by=mia, now=now)
    return people


def _imports(pool: Pool, by: User, now: datetime) -> list[ImportJob]:
    """One that is done, with its refusals, one that waits for a worker, and one that asks about a field."""
    data = "\n".join([*(json.dumps(line) for line in LINES), "no json"]).encode()
    made = [
        jobs.store(
            pool=pool, kind=ImportKind.PROMPTS, file_name="prompts.jsonl", data=data, defaults={}, by=by, now=now
        )
        for _ in range(2)
    ]
    jobs.run(job_id=made[0].id, take=prompts.take, clock=lambda: now)
    asking = json.dumps({"prompt": "Translate the passage.", "passage": f"Guten Tag. {LONG_WORD}"}).encode()
    made.append(
        jobs.store(pool=pool, kind=ImportKind.PROMPTS, file_name="p.jsonl", data=asking, defaults={}, by=by, now=now)
    )
    jobs.check(job_id=made[2].id, unused=prompts.unused, clock=lambda: now)
    return made


def _policies(by: User, now: datetime) -> list[Policy]:
    def policy(**fields: str) -> Policy:
        return registry.create(spec=PolicySpec(stage=Stage.SFT, **fields), now=now)

    local = policy(name="frog-1b", revision="3", origin=Origin.LOCAL, location="/models/frog", chat_template="{{ x }}")
    registry.move_current(stage=Stage.SFT, policy=local, by=by, now=now)
    imported = policy(name=LONG_WORD.lower(), revision="imported", origin=Origin.IMPORTED)
    server = policy(
        name="frog-server",
        revision="1",
        origin=Origin.SERVER,
        location="http://127.0.0.1:8001/v1",
        served_model="frog",
        endpoint="chat",
    )
    return [local, imported, server]


def _runs(pool: Pool, policy: Policy, by: User, now: datetime) -> list[SampleRun]:
    """One done, one in the middle, one that failed, one cancelled."""
    done, half, failed, cancelled = (
        sampling.start(
            pool=pool,
            policy=policy,
            k=len(OUTPUTS),
            temperature=1.0,
            top_p=0.95,
            max_new_tokens=64,
            stop=["\n\n"],
            seed=number,
            by=by,
            now=now,
            prompts=pool.prompts.order_by("id")[: 4 if number else 30],
        )
        for number in range(4)
    )
    _sample(done, 30, now)
    _sample(half, 2, now)
    lease = timedelta(minutes=1)
    for request in requests.claim(run=failed, worker="w", limit=9, lease=lease, now=now):
        requests.fail(request=request, error=f"OutOfMemoryError: {RICH[-400:]}", now=now, final=True)
    sampling.cancel(run=cancelled, now=now)
    return [done, half, failed, cancelled]


def _sample(run: SampleRun, limit: int, now: datetime) -> None:
    for request in requests.claim(run=run, worker="w", limit=limit, lease=timedelta(minutes=1), now=now):
        for k, text in enumerate(OUTPUTS):
            written = requests.Written(
                k=k,
                text=text,
                token_count=len(text) // 4,
                finish_reason=FinishReason.LENGTH if k == 1 else FinishReason.STOP,
                seed=1000 + k,
                attempt=0,
                parameters={"temperature": 1.0, "top_p": 0.95},
                checkpoint_hash="c" * 64,
                provenance={"engine": "transformers", "torch": "2.13.0"},
            )
            requests.store(run=run, prompt_id=request.prompt_id, written=written, now=now)
        requests.finish(request=request, now=now)


def _guidelines(by: User, now: datetime) -> list[Guideline]:
    """One with two published versions and a draft of the third, and one that nobody has published."""
    body = f"# How to answer\n\n- Be helpful.\n- Be truthful.\n\n{RICH}"
    first = create_guideline(name="Answering", body=body, by=by, now=now)
    publish(guideline=first, now=now)
    for number, wording in enumerate(("Be harmless.", "Be brief, too."), start=2):
        body = body.replace("- Be truthful.", f"- Be truthful.\n- {wording}")
        save_draft(guideline=first, body=body, summary=f"New: {wording}", by=by, now=now)
        if number == 2:
            publish(guideline=first, now=now)
    unpublished = create_guideline(name=f"Ranking {LONG_WORD}", body="Rank them.", by=by, now=now)
    return [first, unpublished]


def _campaigns(pool: Pool, guideline: Guideline, by: User, now: datetime) -> dict[str, Campaign]:
    target = create_pool(name="Instructions by labelers", now=now)
    instructions = {"workflow": "instructions", "settings": {"target_pool": target}, "review_percent": 100}
    briefs = instructions | {"settings": {"target_pool": target, "rewrite_pool": False}}
    given: dict[str, dict[str, Any]] = {
        "demonstrations": {"workflow": "demonstrations", "review_percent": 100, "overlap": 2},
        "rankings": {"workflow": "rankings", "review_percent": 100, "overlap": 2},
        "rewriting": instructions,
        "plain": briefs,
        "few-shot": briefs,
        "user-based": briefs,
        "draft": {"workflow": "rankings"},
        "paused": {"workflow": "demonstrations", "skip_limit": 1},
        "closed": {"workflow": "rankings", "overlap": 2},
    }
    campaigns = {
        name: create_campaign(
            name=f"Frogs, {name}",
            pool=pool,
            guideline=guideline,
            cohorts=[Cohort.TRAINING],
            by=by,
            now=now,
            **columns,
        )
        for name, columns in given.items()
    }
    add_briefs(campaign=campaigns["plain"], kind=Kind.PLAIN, count=3, now=now)
    add_briefs(campaign=campaigns["few-shot"], kind=Kind.FEW_SHOT, count=3, now=now)
    add_briefs(campaign=campaigns["user-based"], kind=Kind.USER_BASED, use_cases=[BAKERY, RICH[:400]], now=now)
    for name, campaign in campaigns.items():
        if name == "draft":
            continue
        change_state(campaign=campaign, to=CampaignState.OPEN, now=now)
        while name != "closed" and workflow_of(campaign).fill(campaign=campaign, now=now):
            pass
    return campaigns


def _stop(desk: "Desk", campaign: Campaign, labeler: User) -> None:
    """The labeler skips a task, which is enough to stop it, and the campaign is paused."""
    held, reason = desk.claim(labeler, campaign), SkipReason.SENSITIVE
    leases.skip(assignment_id=held.id, labeler=labeler, reason=reason, note=RICH, now=desk.now)
    change_state(campaign=campaign, to=CampaignState.PAUSED, now=desk.now)


def _qualifications(holder: User, campaign: Campaign) -> list[Qualification]:
    given = (("Biology of frogs", "A degree, or ten years beside a pond"), (LONG_WORD[:60], ""))
    made = [
        save_qualification(qualification=Qualification(), name=name, description=description)
        for name, description in given
    ]
    change_work(user=holder, languages=["en", "pt-BR"], qualifications=made[:1], daily_cap=40)
    change_campaign(campaign=campaign, now=timezone.now(), qualifications=made[:1])
    return made


def _read(guideline: Guideline, readers: list[User], behind: User, now: datetime) -> None:
    first, second = guideline.versions.exclude(published_at=None).order_by("number")
    for labeler in readers:
        acknowledge(version=second, labeler=labeler, now=now)
    acknowledge(version=first, labeler=behind, now=now)


@dataclass
class Desk:
    """The verbs of the desk and of review, now."""

    reviewer: User
    now: datetime

    def claim(self, labeler: User, campaign: Campaign) -> Assignment:
        return leases.claim(campaign_id=campaign.id, labeler=labeler, now=self.now)

    def release(self, labeler: User, assignment: Assignment) -> Assignment:
        return leases.release(assignment_id=assignment.id, labeler=labeler, now=self.now)

    def submit(self, labeler: User, campaign: Campaign, **fields: Any) -> Assignment:
        """Take the next task of the campaign and hand these fields in."""
        data = QueryDict(mutable=True)
        for name, value in fields.items():
            data.setlist(name, value if isinstance(value, list) else [value])
        held, workflow = self.claim(labeler, campaign), workflow_of(campaign)
        workflow.show(assignment=held, labeler=labeler, draft=None, now=self.now)
        submission = workflow.submit(
            assignment_id=held.id, labeler=labeler, typed=data, submit_key=uuid4(), now=self.now
        )
        return submission.assignment

    def accept(self, assignment: Assignment) -> None:
        decide(
            assignment=assignment,
            read_at=assignment.submitted_at,
            accepted=True,
            reviewer=self.reviewer,
            comment="Well *done*.",
            now=self.now,
        )

    def send_back(self, assignment: Assignment) -> None:
        with transaction.atomic():
            comment = f"Shorter.\n\n{RICH}"
            review.send_back(assignment_id=assignment.id, reviewer=self.reviewer, comment=comment, now=self.now)


def _answer(desk: Desk, campaigns: dict[str, Campaign], ada: User, ben: User) -> list[Assignment]:
    """Ada's answers: accepted, sent back, sent back, submitted, and one of each other kind. Ben skips and ranks."""
    written = [desk.submit(ada, campaigns["demonstrations"], text=RICH) for _ in range(4)]
    desk.accept(written[0])
    desk.send_back(written[1])
    desk.send_back(written[2])
    rewritten = {"text": "What is a toad?", "category": "chat", "reasons": ["unclear"]}
    few_shot = {"text": "Add the numbers.", "category": "other", "query": ["2 + 2", "3 + 3"], "response": ["4", "6"]}
    skipped = desk.claim(ben, campaigns["demonstrations"])
    leases.skip(assignment_id=skipped.id, labeler=ben, reason=SkipReason.EXPERTISE, note=LONG_WORD, now=desk.now)
    desk.submit(ben, campaigns["rankings"], **marks())
    return [
        *written,
        desk.submit(ada, campaigns["rankings"], **marks()),
        desk.submit(ada, campaigns["rewriting"], **rewritten),
        desk.submit(ada, campaigns["few-shot"], **few_shot),
    ]


def _lose(desk: Desk, campaigns: dict[str, Campaign], ada: User, ben: User) -> tuple[Assignment, Assignment]:
    """Two tasks that Ada had and wrote for; the second one is Ben's now."""
    late, lost = (desk.claim(ada, campaigns[name]) for name in ("few-shot", "plain"))
    for assignment in (late, lost):
        body = {"text": RICH}
        drafts.save_draft(task_id=assignment.task_id, labeler=ada, body=body, now=desk.now)
        desk.release(ada, assignment)
    assert desk.claim(ben, campaigns["plain"]) == lost
    return late, lost


def marks() -> dict[str, str]:
    """A ranking of all candidates, the first two tied."""
    places = {f"place-{letter}": place for letter, place in zip("ABCDE", "11345", strict=True)}
    return places | {f"rating-{letter}": "4" for letter in "ABCDE"} | {"note": RICH}


def _doubly_ranked(run: SampleRun, campaign: Campaign, first: User, second: User, now: datetime) -> None:
    """Enough prompts ranked by two labelers for an interval of their agreement."""
    by_prompt: dict[int, list[Completion]] = {}
    for completion in run.completions.select_related("prompt").order_by("prompt_id", "k"):
        by_prompt.setdefault(completion.prompt_id, []).append(completion)
    for completions in list(by_prompt.values())[:22]:
        candidates = answers.slate(campaign, completions[0].prompt, completions)
        answers.ranking(candidates, first, [1, 2, 2, 3, 4])
        answers.ranking(candidates, second, [1, 2, 3, 3, 4])
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=now)


def _exports(campaigns: list[Campaign], by: User, now: datetime) -> list[Export]:
    """One that is done, one that waits."""
    exports = [request_export(campaigns=campaigns, by=by, now=now) for _ in range(2)]
    run_export(export_id=exports[0].id, clock=timezone.now)
    return exports


def reviewable(world: World) -> list[Assignment]:
    """Answers of each kind that wait for a reviewer, one accepted, one sent back."""
    waiting = Assignment.objects.filter(state=State.SUBMITTED, needs_review=True).order_by("campaign_id", "id")
    first_of = {assignment.campaign_id: assignment for assignment in reversed(waiting)}
    return [*first_of.values(), *world.answered[:2]]
