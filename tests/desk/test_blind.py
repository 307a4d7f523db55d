"""Which policy wrote what is in no byte that a labeler receives."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from annotate.rankings.models import Candidate
from annotate.samples.models import Completion, FinishReason, SampleRun
from annotate.work import leases, queries
from annotate.work.review import send_back
from tests import factories as make
from tests.desk.conftest import filled, marks
from tests.factories import draft_of

# Numbers that stand nowhere by accident: any of them in a response is a leak.
FIRST = 735_100_000


@pytest.fixture
def secret(db):
    """A ranking campaign whose ids, names and provenance are unmistakable, and the list of all that must not show."""
    pool = make.pool()
    prompt = make.prompt(pool, reference={"output": "The narwhal's answer."})
    banned = ["narwhal"]
    for number in range(5):
        policy = make.policy(
            f"zebra-{number}", id=FIRST + number, revision=f"quagga-{number}", location=f"/okapi/{number}"
        )
        run = SampleRun.objects.create(
            id=FIRST + 100 + number, pool=pool, policy=policy, k=4, seed=FIRST + 200 + number, created_at=make.NOW
        )
        completion = Completion.objects.create(
            id=FIRST + 300 + number,
            prompt=prompt,
            policy=policy,
            run=run,
            k=0,
            text=f"Text number {number}.",
            text_hash=f"{number:x}" * 64,
            token_count=FIRST + 400 + number,
            finish_reason=FinishReason.LENGTH,
            seed=FIRST + 500 + number,
            parameters={"temperature": FIRST + 600 + number},
            policy_revision=f"quagga-{number}",
            checkpoint_hash=f"okapi{number}",
            provenance={"engine": "tapir"},
            created_at=make.NOW,
        )
        banned += [str(FIRST + offset + number) for offset in range(0, 700, 100)]
        banned += [policy.name, policy.revision, completion.text_hash, completion.checkpoint_hash]
    campaign = make.campaign("rankings", over=pool, overlap=2, review_percent=100)
    filled(campaign)
    for number, candidate in enumerate(Candidate.objects.order_by("id")):
        moved = FIRST + 700 + number
        Candidate.objects.filter(id=candidate.id).update(id=moved)
        banned.append(str(moved))
    return campaign, [*banned, "tapir", "okapi", "zebra", "quagga"]


def leaks(response, banned):
    """What of it stands in the response: in its body, its headers or its cookies."""
    everything = response.content.decode() + json.dumps(dict(response.headers.items())) + str(response.cookies)
    return [word for word in banned if word in everything]


def test_every_response_of_a_whole_ranking_is_blind(labeler, secret):
    campaign, banned = secret
    me = labeler(campaign)
    seen = []

    def look(response):
        seen.append((response.request["PATH_INFO"], response.status_code))
        assert not leaks(response, banned), response.request["PATH_INFO"]
        return response

    def get(name, *args, **query):
        return look(me.get(name, *args, **query))

    def post(name, *args, **more):
        return look(me.post(name, *args, **more))

    get("home")
    get("guideline", campaign.id)
    post("next", campaign.id)
    held = queries.held(me.user).get()
    page = get("task", held.id).content.decode()
    assert all(f"Text number {number}." in page for number in range(5))
    look(me.save(held, **{"rating-A": "3"}))
    get("task", held.id)
    post("renew", held.id)
    post("preview", data={"text": "x"})
    look(me.submit(held, **marks(5) | {"place-A": ""}))
    post("skip", held.id, data={"skip-sent": "1"})
    post("release", held.id, data=marks(5))
    post("next", campaign.id)
    key = uuid4()
    for _ in range(2):
        look(me.submit(held, key=key, **marks(5, places="12345")))
    look(me.submit(held, **marks(5)))
    get("answers")
    get("answer", held.id)
    get("task", held.id)
    with transaction.atomic():
        send_back(assignment_id=held.id, reviewer=make.user("reviewer"), comment="Look at B", now=make.NOW)
    get("home")
    get("answer", held.id)
    post("resume", held.id)
    get("task", held.id)
    leases.sweep(now=timezone.now() + timedelta(days=2))
    get("answer", held.id)
    look(me.submit(held, **marks(5)))
    assert {status for _path, status in seen} == {200, 302, 409, 422}


def test_the_page_of_who_came_late_is_blind(labeler, secret):
    campaign, banned = secret
    me, *others = (labeler(campaign) for _ in range(3))
    held = me.take(campaign)
    me.get("task", held.id)
    leases.sweep(now=timezone.now() + timedelta(days=2))
    assert not leaks(me.get("task", held.id), banned)
    for other in others:
        other.submit(other.take(campaign), **marks(5))
    assert not leaks(me.get("task", held.id), banned)
    assert not leaks(me.submit(held, **marks(5)), banned)


def test_what_is_kept_as_a_draft_knows_letters_only(labeler, secret):
    campaign, banned = secret
    me = labeler(campaign)
    held = me.take(campaign)
    me.post("release", held.id, data=marks(5))
    kept = json.dumps(draft_of(me.user, held.task_id).body)
    assert not [word for word in banned if word in kept]
