"""The part of the measurements that needs Django: reads one command per line, prints one answer per line.

The other programs start it as `python -m bench.engine`, with the environment of the measured platform. Rows are written
by the platform's own functions, or by SQL that gives the same rows.
"""

import gc
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from annotate.accounts.models import User  # noqa: E402
from annotate.accounts.sessions import SessionStore  # noqa: E402
from annotate.demonstrations import actions as demonstrations  # noqa: E402
from annotate.guidelines.models import Acknowledgement, Guideline, GuidelineVersion  # noqa: E402
from annotate.lib.wake import wake  # noqa: E402
from annotate.pools.models import Kind, Pool, Prompt, PromptGroup, Source, Split  # noqa: E402
from annotate.work import leases, refusals  # noqa: E402
from annotate.work.campaigns import change_state, create_campaign  # noqa: E402
from annotate.work.filling import add_tasks  # noqa: E402
from annotate.work.models import Campaign  # noqa: E402
from annotate.work.states import CampaignState  # noqa: E402

GUIDELINE = "bench"
TASKS_AT_ONCE = 50_000

# A hundred prompts of each customer; other columns as in the first prompt. Few different words, because this does not
# measure the search index.
PROMPTS = """
WITH grouped AS (
    INSERT INTO pools_promptgroup (key, split, created_at)
    SELECT 'customer:' || %(name)s || ' ' || i, CASE WHEN i %% 10 = 0 THEN 'valid' ELSE 'train' END, now()
    FROM generate_series(0, (%(prompts)s - 1) / 100) i
    RETURNING id, key
), written AS (
    SELECT %(name)s || ' ' || i %% ((%(prompts)s - 1) / 100 + 1) AS customer,
           'Explain to a child of ten how number ' || regexp_replace(i::text, '(.)', '\\1 ', 'g')
           || 'comes about, and why it matters.' AS words
    FROM generate_series(2, %(prompts)s) i
)
INSERT INTO pools_prompt ({columns})
SELECT {values}
FROM written JOIN grouped ON grouped.key = 'customer:' || customer CROSS JOIN pools_prompt first
WHERE first.id = %(first)s
-- The index of the hashes is then written from one end to the other.
ORDER BY encode(sha256(words::bytea), 'hex')
"""
DIFFERENT = {
    "group_id": "grouped.id",
    "source_user": "customer",
    "messages": "jsonb_build_array(jsonb_build_object('role', 'user', 'content', words))",
    "text": "words",
    "content_hash": "encode(sha256(words::bytea), 'hex')",
}

# Answers of one labeler, in slots of consecutive tasks.
ANSWERS = """
WITH chosen AS (
    SELECT id FROM work_assignment a
    WHERE campaign_id = %(campaign)s AND state = 'open' AND slot = %(slot)s
        AND NOT EXISTS (SELECT 1 FROM work_assignment WHERE task_id = a.task_id AND labeler_id = %(labeler)s)
    ORDER BY position LIMIT %(number)s
), answered AS (
    UPDATE work_assignment a
    SET state = 'accepted', labeler_id = %(labeler)s, claimed_at = now(), submitted_at = now(), decided_at = now(),
        guideline_version_id = %(version)s, submit_key = gen_random_uuid()
    FROM chosen WHERE a.id = chosen.id RETURNING a.id, a.position
), written AS (
    INSERT INTO demonstrations_demonstration (assignment_id, text, written_at)
    SELECT id, 'Answer ' || id, now() FROM answered
), told AS (
    INSERT INTO work_event (assignment_id, move, actor_id, at, detail)
    SELECT id, move, %(labeler)s, now(), '{}' FROM answered CROSS JOIN unnest(ARRAY['claim', 'submit', 'accept']) move
)
UPDATE work_seat SET cursor = greatest(cursor, (SELECT max(position) FROM answered))
WHERE campaign_id = %(campaign)s AND labeler_id = %(labeler)s
"""


def people(number: int) -> list[tuple[int, str]]:
    """Labelers with a session each, who have acknowledged the guideline: (id, session key)."""
    version = _version()
    taken = User.objects.count()
    users = User.objects.bulk_create(
        User(username=f"labeler{taken + i}", password="!")
        for i in range(number)  # nobody logs in with it
    )
    now = timezone.now()
    Acknowledgement.objects.bulk_create(
        Acknowledgement(version=version, labeler=user, acknowledged_at=now) for user in users
    )
    sessions = [_session(user) for user in users]
    Session.objects.bulk_create(sessions)
    return [(user.id, session.session_key) for user, session in zip(users, sessions, strict=True)]


def _version() -> GuidelineVersion:
    found = GuidelineVersion.objects.filter(guideline__name=GUIDELINE).first()
    if found:
        return found
    now = timezone.now()
    author = User.objects.create(username="author", password="!")
    guideline = Guideline.objects.create(name=GUIDELINE, created_at=now)
    body = "Be helpful, be truthful, and do no harm.\n\n" + "* Answer what was asked, in full sentences.\n" * 20
    return GuidelineVersion.objects.create(
        guideline=guideline, number=1, body=body, created_by=author, created_at=now, published_at=now
    )


def _session(user: User) -> Session:
    store = SessionStore()
    held = {
        SESSION_KEY: str(user.id),
        BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    key = uuid4().hex
    return Session(session_key=key, session_data=store.encode(held), expire_date=store.get_expiry_date())


def pool(name: str, prompts: int) -> int:
    """A pool of so many prompts, made by one statement; returns its id."""
    now, words = timezone.now(), "Explain to a child of ten how number 1 comes about, and why it matters."
    made = Pool.objects.create(name=name, created_at=now)
    first = Prompt.objects.create(
        pool=made,
        group=PromptGroup.objects.create(key=f"customer:{name}", split=Split.TRAIN, created_at=now),
        messages=[{"role": "user", "content": words}],
        kind=Kind.PLAIN,
        source=Source.CUSTOMER,
        source_user=name,
        text=words,
        content_hash=hashlib.sha256(words.encode()).hexdigest(),
        created_at=now,
    )
    columns = [column.column for column in Prompt._meta.concrete_fields if not column.generated and column.name != "id"]
    values = [DIFFERENT.get(column, f"first.{column}") for column in columns]
    statement = PROMPTS.format(columns=", ".join(columns), values=", ".join(values))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"name": name, "prompts": prompts, "first": first.id})
        cursor.execute("VACUUM (ANALYZE) pools_prompt")
    return made.id


def campaign(name: str, pool: int, overlap: int, lease_minutes: int = 30) -> int:
    """A draft campaign without tasks."""
    made = create_campaign(
        by=None,
        now=timezone.now(),
        name=name,
        workflow="demonstrations",
        pool_id=pool,
        guideline=_version().guideline,
        overlap=overlap,
        lease_minutes=lease_minutes,
        cohorts=["training"],
    )
    return made.id


def fill(campaign: int) -> int:
    """Make the tasks of a draft with the worker's function. Returns their number."""
    wanted = Campaign.objects.get(id=campaign)
    prompts = Prompt.objects.filter(pool=wanted.pool_id)
    ids = list(prompts.order_by("id").values_list("id", flat=True))
    made = 0
    for start in range(0, len(ids), TASKS_AT_ONCE):
        batch = ids[start : start + TASKS_AT_ONCE]
        some = prompts.filter(id__gte=batch[0], id__lte=batch[-1]).order_by("id")
        made += len(add_tasks(campaign=wanted, prompts=some, now=timezone.now()))
    return made


def open_campaign(campaign: int, wake_worker: bool) -> None:
    """As the studio's page does."""
    opened = change_state(campaign=Campaign.objects.get(id=campaign), to=CampaignState.OPEN, now=timezone.now())
    if wake_worker:
        wake("studio.fill_campaigns", opened.pool_id)


def answered(campaign: int, labeler: int, number: int, slot: int) -> None:
    """Give the labeler answers: the first by the engine, which creates the seat, the rest by one statement."""
    person = User.objects.get(id=labeler)
    _submit(leases.claim(campaign_id=campaign, labeler=person, now=timezone.now()).id, person)
    more = {"number": number - 1, "slot": slot, "version": _version().id}
    with connection.cursor() as cursor:
        cursor.execute(ANSWERS, more | {"campaign": campaign, "labeler": labeler})


def work(campaign: int, labelers: list[int], seconds: float) -> int:
    """Each labeler claims and submits in a thread, without pauses. Returns the number of submits."""
    with ThreadPoolExecutor(len(labelers)) as threads:
        return sum(threads.map(lambda labeler: _work(campaign, labeler, seconds), labelers))


def _work(campaign: int, labeler: int, seconds: float) -> int:
    person, done, end = User.objects.get(id=labeler), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            _submit(leases.claim(campaign_id=campaign, labeler=person, now=timezone.now()).id, person)
        except refusals.Busy:
            continue
        done += 1
    connection.close()
    return done


def take_turns(campaign: int, labelers: list[int], rounds: int) -> list[list[tuple[float, float]]]:
    """Each labeler claims and submits once a round; seconds of each claim and submit, by labeler."""
    persons = [User.objects.get(id=labeler) for labeler in labelers]
    timed: list[list[tuple[float, float]]] = [[] for _ in persons]
    gc.disable()
    for number in range(rounds):
        # Rotate the order, because the first one finds a cold index.
        for index in sorted(range(len(persons)), key=lambda index: (index + number) % len(persons)):
            before = time.perf_counter()
            claimed = leases.claim(campaign_id=campaign, labeler=persons[index], now=timezone.now())
            between = time.perf_counter()
            _submit(claimed.id, persons[index])
            timed[index].append((between - before, time.perf_counter() - between))
        gc.collect()
    gc.enable()
    return timed


def _submit(assignment_id: int, labeler: User) -> None:
    demonstrations.submit(
        assignment_id=assignment_id,
        labeler=labeler,
        text=f"{uuid4()}: because the parts that make it up pull at each other, and so it holds together.",
        submit_key=uuid4(),
        now=timezone.now(),
    )


class Seen:
    """The statements that reach the database, with savepoints, without BEGIN and COMMIT."""

    def __init__(self, *, explain: bool = False) -> None:
        self.statements: list[str] = []
        self.plans: list[list[str]] = []
        self._explain = explain

    def watching(self) -> AbstractContextManager[None]:
        return connection.execute_wrapper(self)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements.append(sql)
        if self._explain and sql.split(None, 1)[0].upper() in ("SELECT", "INSERT", "UPDATE", "WITH"):
            with connection.connection.cursor() as cursor:
                # Undo its changes, so that the statement itself finds the same rows.
                cursor.execute("SAVEPOINT explained")
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", params)
                plan = [line for (line,) in cursor.fetchall()]
                written = cursor.mogrify(sql, params).decode()
                cursor.execute("ROLLBACK TO SAVEPOINT explained")
            self.plans.append([written, *plan])
        return execute(sql, params, many, context)


def queries(campaign: int, labeler: int) -> dict[str, list[str]]:
    """The statements of a claim and of a submit, by the engine and by the desk's pages."""
    person = User.objects.get(id=labeler)
    _submit(leases.claim(campaign_id=campaign, labeler=person, now=timezone.now()).id, person)  # the seat is there
    claiming, submitting, pressing, loading = Seen(), Seen(), Seen(), Seen()
    with claiming.watching():
        claimed = leases.claim(campaign_id=campaign, labeler=person, now=timezone.now())
    with submitting.watching():
        _submit(claimed.id, person)
    claimed = leases.claim(campaign_id=campaign, labeler=person, now=timezone.now())
    browser = Client(headers={"host": "localhost"})
    browser.force_login(person, settings.AUTHENTICATION_BACKENDS[0])
    with pressing.watching():
        led = browser.post(f"/desk/tasks/{claimed.id}/submit/", {"text": f"{uuid4()}", "submit_key": str(uuid4())})
    with loading.watching():
        browser.get(led["Location"])
    return {
        "claim": claiming.statements,
        "submit": submitting.statements,
        "page_submit": pressing.statements,
        "page_task": loading.statements,
    }


def explain(campaign: int, labeler: int) -> list[list[str]]:
    """The statements of a claim with their plans. The claim is rolled back."""
    settings.PREPARED_STATEMENTS = False  # whose text and plan would stay hidden
    person = User.objects.get(id=labeler)
    watched = Seen(explain=True)
    with transaction.atomic():
        with watched.watching():
            leases.claim(campaign_id=campaign, labeler=person, now=timezone.now())
        transaction.set_rollback(True)
    return watched.plans


COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__: command
    for command in (people, pool, campaign, fill, open_campaign, answered, work, take_turns, queries, explain)
}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(COMMANDS[asked.pop("do")](**asked)), flush=True)


if __name__ == "__main__":
    main()
