"""Every address, with numbers, texts, bodies and headers that no page of ours sends: none is answered with a 5xx.

A new view joins by being routed. The draw is seeded and bounded; FUZZ=50 makes it fifty times as long.
"""

import json
import os
import random
import re
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.core.signals import got_request_exception
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from annotate.accounts import tokens
from annotate.accounts.models import Qualification, Role
from annotate.demonstrations import actions as demonstrations
from annotate.pools.models import ImportJob
from annotate.samples.runs import start as start_run
from annotate.work import leases
from annotate.workflows.table import WORKFLOWS, workflow_of
from exports.actions import request_export
from tests import factories as make

ROUNDS = int(os.environ.get("FUZZ", "1"))
BIG = [0, -1, 2**15, 2**31, 2**63 - 1, 2**63, 10**30, "9" * 5000]
TEXTS = ["", "\x00", "a\x00b", "9223372036854775808", "-1", "1e999", "nan", "inf", "١٢", "²", "\ud800", "[]", "null"]
TEXTS += [
    "9" * 5000,
    "x" * 70_000,
    "%",
    "%zz",
    "\u202e",
    "policy:x",
    "policy:²",
    "policy:9223372036854775808",
    ":",
    "e\u0301" * 300,
]
TEXTS += [
    "2026-13-45",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "a:b:c",
    f"{uuid4()}:nan",
    f"{uuid4()}:1e999",
]
QUERIES = """
page campaign pool policy q role cohort active show ahead limit offset split next ties from to old new format
""".split()
FIELDS = """
submit_key active then text reason skip-reason skip-note note version number priority decision comment read name
description body summary kind count use_cases file content language licence model username email full_name languages
qualifications daily_cap seed k temperature top_p max_new_tokens stop category reasons rating-A place-A query response
overlap order order_seed labelers policies lease_minutes low high login password parts-TOTAL_FORMS parts-INITIAL_FORMS
parts-0-source parts-0-count campaigns to key
""".split()
HEADERS: list[dict[str, str]] = [
    {"cookie": "sessionid=%00; csrftoken=\x01"},
    {"cookie": "sessionid=" + "x" * 5000},
    {"hx-request": "true", "hx-current-url": "http://[bad"},
    {"hx-request": "true", "hx-current-url": "%00", "hx-current-url-uri-autoencoded": "true"},
    {"x-person": "\x00"},
    {"accept": "*/*;q=nan, a"},
    {"accept-language": "x" * 300},
    {"authorization": "Token \xff"},
    {"authorization": "Token a\x00b"},
    {"authorization": "Token"},
    {"x-forwarded-for": "\x00, [::"},
    {"host": "[bad"},
    {"referer": "http://[bad"},
    {"range": "bytes=9-1"},
    {"if-modified-since": "no date"},
    {"content-length": "-1"},
    {"content-length": "x"},
    {"transfer-encoding": "chunked"},
]
FORM = "multipart/form-data; boundary=a"


def part(disposition: str, *headers: str, body: bytes = b"1") -> bytes:
    """A form with one field."""
    head = "\r\n".join([f"Content-Disposition: form-data; {disposition}", *headers])
    return b"--a\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n--a--\r\n"


BODIES = [
    ("multipart/form-data", b"--a\r\n"),
    ("multipart/form-data; boundary=", b"----\r\n"),
    (FORM, b""),
    (FORM, part('name="x"').removesuffix(b"\r\n--a--\r\n")),
    (FORM, part('name="file"; filename="\x00../x"')),
    (FORM, part('name="text"', "Content-Transfer-Encoding: base64", body=b"!")),
    (FORM, part('name="text"', "Content-Type: text/plain; charset=none", body=b"\xff")),
    (FORM, part("name*=utf-99''%ff")),
    (FORM, part("name=\"file\"; filename*=x''%ff")),
    (FORM + "; charset=utf-99", part('name="text"', body=b"\xff")),
    ("multipart/form-data; boundary=" + "a" * 300, b"--a"),
    ("multipart/form-data; boundary=\xff\xfe", b"--a"),
    ("multipart/mixed; boundary=a", b"--a--"),
    ("application/x-www-form-urlencoded; charset=utf-99", b"text=%ff"),
    ("application/x-www-form-urlencoded; charset=latin-1", b"text=%ff"),
    ("application/x-www-form-urlencoded", b"%ff=%00&%ED%A0%80=%ED%A0%80&" + b"a&" * 1100),
    ("application/json; charset=utf-99", b"{}"),
    ("application/json; charset=utf-16", b"{}"),
    ("application/json", b"\xff\xfe"),
    ("application/json", b"[" * 100_000),
    ("application/json", b'{"a":' * 100_000),
    ("application/json", b'{"pool": 1e999, "priority": NaN, "k": 9223372036854775808}'),
    ("application/json", b"9" * 5000),
    ("\x00", b"{}"),
    ("text/plain; charset=\xff", b"x"),
]


def routes(resolver: URLResolver | None = None, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    """(address with {names} in it, pattern) of every view there is, also of those that are not ours."""
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from routes(entry, before + str(entry.pattern))
        else:
            yield before + str(entry.pattern), entry


def address(route: str, draw: random.Random, world: dict[str, list[Any]]) -> str:
    """Some address that fits the pattern; where it has parameters, one in three is a row that there is."""

    def value(name: str) -> str:
        rows = world.get(name.removesuffix("_id"), world["any"])
        chosen = draw.choice(rows) if draw.random() < 0.4 else draw.choice([*BIG, *TEXTS[:20]])
        return quote(str(chosen), safe="", errors="surrogatepass")

    # Of a re_path() or a router first: what remains of it are anchors and backslashes.
    route = re.sub(r"\(\?P(<\w+>)(?:[^()]|\([^()]*\))*\)", r"\1", route)
    route = re.sub(r"[\^$\\]|\.\?", "", route).replace("/?", "/")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: value(found[1]), route)


def nasty(draw: random.Random) -> Any:
    return draw.choice([*BIG, *TEXTS])


def json_of(draw: random.Random) -> bytes:
    def value(depth: int = 0) -> Any:
        kind = draw.random()
        if depth > 2 or kind < 0.6:
            return draw.choice([*BIG[:-1], *TEXTS, None, True, 1.5, 1e300, 1, "1"])
        if kind < 0.8:
            return [value(depth + 1) for _ in range(draw.randint(0, 3))]
        return {
            draw.choice([*FIELDS, "\x00", "role", "content", "messages", "body", "parts"]): value(depth + 1)
            for _ in range(3)
        }

    names = [*FIELDS, "messages", "examples", "pool", "policy", "body", "seen", "active", "parts", "source", "stage"]
    whole: Any = {draw.choice(names): value() for _ in range(draw.randint(0, 8))}
    return json.dumps(whole if draw.random() < 0.9 else value()).encode("utf-8", "surrogatepass")


def fields_of(client: Client, path: str, draw: random.Random) -> dict[str, list[Any]]:
    """The fields of the form on the page of that address, if it has one, with a few values that are none of its own."""
    page = client.get(path).content.decode(errors="replace") if draw.random() < 0.5 else ""
    names = list(dict.fromkeys(re.findall(r'name="([^"]+)"', page))) or draw.sample(FIELDS, 12)
    return {name: [str(nasty(draw)) if draw.random() < 0.4 else draw.choice(["1", "plain", "x"])] for name in names}


def ask(client: Client, path: str, draw: random.Random) -> HttpResponse:
    """One request of some kind."""
    extra: dict[str, Any] = {"headers": draw.choice(HEADERS)} if draw.random() < 0.15 else {}
    if draw.random() < 0.5:
        asked = {name: str(nasty(draw)) for name in draw.sample(QUERIES, draw.randint(1, 4))}
        extra["QUERY_STRING"] = (
            urlencode(asked, errors="surrogatepass") if draw.random() < 0.9 else "%&=%00;%ff=%ED%A0%80"
        )
    method = draw.choice(["GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
    if method in ("GET", "HEAD", "OPTIONS"):
        return client.generic(method, path, **extra)
    kind = draw.random()
    if kind < 0.3 or (method != "POST" and kind < 0.8):
        return client.generic(method, path, json_of(draw), "application/json", **extra)
    if kind < 0.5:
        content_type, body = draw.choice(BODIES)
        return client.generic(method, path, body, content_type, **extra)
    body = urlencode(fields_of(client, path, draw), doseq=True, errors="surrogatepass").encode()
    return client.generic(method, path, body, "application/x-www-form-urlencoded", **extra)


@pytest.fixture
def world(db: None) -> dict[str, list[Any]]:
    """A row or two of everything that an address can name, by the name of its parameter."""
    manager, reviewer = make.user(Role.MANAGER), make.user(Role.REVIEWER)
    labeler = make.user(Role.LABELER)
    pool, policy = make.pool(), make.policy()
    prompts = [make.prompt(pool, category="generation") for _ in range(4)]
    for number in range(5):
        make.completion(prompts[0], policy, text=f"Candidate number {number} says something of its own.")
    campaigns = [
        make.campaign(kind, over=pool, **({"target_pool": make.pool()} if kind == "instructions" else {}))
        for kind in WORKFLOWS
    ]
    held = []
    for campaign in campaigns:
        make.acknowledge(labeler, campaign)
    for campaign in campaigns:
        workflow_of(campaign).fill(campaign=campaign, now=timezone.now())
        held.append(leases.claim(campaign_id=campaign.id, labeler=labeler, now=timezone.now()))
    with transaction.atomic():
        done = demonstrations.submit(
            assignment_id=held[0].id, labeler=labeler, text="Mine.", submit_key=uuid4(), now=timezone.now()
        ).assignment
    held.append(leases.claim(campaign_id=campaigns[0].id, labeler=labeler, now=timezone.now()))
    run = start_run(
        pool=pool, policy=policy, k=1, temperature=1.0, top_p=1.0, max_new_tokens=1, stop=[], seed=1, by=manager,
        now=timezone.now(),
    )  # fmt: skip
    job = ImportJob.objects.create(pool=pool, kind="prompts", file_name="x", created_by=manager, created_at=make.NOW)
    export = request_export(campaigns=[campaigns[0]], by=manager, now=timezone.now())
    qualification = Qualification.objects.create(name="Medicine")
    return {
        "person": [labeler, reviewer, manager],
        "assignment": [done.id, *(each.id for each in held)],
        "task": [each.task_id for each in held],
        "campaign": [each.id for each in campaigns],
        "guideline": [campaigns[0].guideline_id],
        "pool": [pool.id],
        "prompt": [prompts[0].id],
        "policy": [policy.id],
        "run": [run.id],
        "job": [job.id],
        "export": [export.id],
        "qualification": [qualification.id],
        "user": [labeler.id, manager.id],
        "number": [1],
        "workflow": [*WORKFLOWS],
        "to": ["open", "paused", "closed"],
        "any": [1, pool.id, policy.id, run.id, campaigns[0].id, export.id],
    }


ROLES = ["nobody", "labeler", "reviewer", "manager", "token", "superuser"]


def client_of(role: str, world: dict[str, list[Any]]) -> Client:
    labeler, reviewer, manager = world["person"]
    client = Client(raise_request_exception=False)
    if role == "token":
        key = tokens.create(user=manager, by=None, now=timezone.now())
        return Client(raise_request_exception=False, headers={"authorization": f"Token {key}"})
    if role == "superuser":
        manager.is_staff = manager.is_superuser = True
        manager.save()
    if role != "nobody":
        client.force_login({"labeler": labeler, "reviewer": reviewer}.get(role, manager))
    return client


@pytest.mark.parametrize("role", ROLES)
def test_no_input_is_answered_with_an_error_of_ours(role: str, world: dict[str, list[Any]], settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    draw = random.Random(f"nasty {role}")
    client, failed, raised = client_of(role, world), [], []

    def hear(**_signal: Any) -> None:
        raised.append(traceback.format_exc().splitlines()[-3:])

    got_request_exception.connect(hear)
    for route, _entry in routes():
        if role == "token" and not route.startswith("api/"):
            continue
        foreign = route.startswith(("admin/", "account/"))
        for _round in range(ROUNDS * (1 if foreign else 12 if role == "token" else 4)):
            path = address(route, draw, world)
            # Each request meets the same rows, whatever those before it did.
            with transaction.atomic():
                response = ask(client, path, draw)
                if not response.streaming:
                    response.content  # noqa: B018
                transaction.set_rollback(True)
            if response.status_code >= 500:
                failed.append((response.status_code, path[:200], *raised[-1:]))
    cache.clear()
    got_request_exception.disconnect(hear)
    assert not failed, f"{len(failed)} requests\n" + "\n".join(map(str, failed[:20]))


NUMBERED = [(route, entry) for route, entry in routes() if "<int:" in route and not route.startswith("admin/")]


@pytest.mark.parametrize(("route", "entry"), NUMBERED, ids=[route for route, _entry in NUMBERED])
@pytest.mark.parametrize("number", ["9223372036854775808", "1" + "0" * 30, "9" * 5000])
@pytest.mark.django_db
def test_a_number_beyond_every_id_is_not_found(route: str, entry: URLPattern, number: str) -> None:
    door = getattr(entry.callback, "door", None) or {Role.MANAGER}
    client = Client()
    client.force_login(make.user(min(door)))
    path = "/" + re.sub(r"<str:(\w+)>", "open", re.sub(r"<int:\w+>", number, route))
    for method in (client.get, client.post):
        assert method(path).status_code in (404, 405)
