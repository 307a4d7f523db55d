"""docs/api.md is true: curl runs each of its examples against a server, and every endpoint has one."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.urls import URLPattern, URLResolver, get_resolver

from annotate.accounts.models import Role
from annotate.pools import actions as pools
from annotate.pools.models import Pool, Prompt, PromptGroup, Source, Split
from annotate.samples import probes, requests
from annotate.samples.models import FinishReason, SampleRun
from annotate.samples.states import RunState
from annotate.work import leases as work
from annotate.work.models import Campaign
from annotate.workflows.tasks import fill_campaigns
from exports import leases as exports
from exports.models import Export, ExportState
from tests import factories as make

GUIDE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
# A command, the status line under it, and the body if the guide shows one. A comment names what happens before it.
EXAMPLE = re.compile(
    r"(?:<!-- before: (?P<before>[^>]+) -->\n+)?"
    r"```sh\n(?P<command>curl .+?)\n```\n+"
    r"`(?P<status>\d{3}) [\w ]+`\n+"
    r"(?:```json\n(?P<body>.+?)\n```)?",
    re.DOTALL,
)
ADDRESS = re.compile(r"\$API(/[^\s\"'?]*)")
# A key of this name in an object of the guide: the answer has more fields.
MORE = "…"


@dataclass(frozen=True)
class Example:
    command: str
    status: int
    body: str
    before: str

    @property
    def method(self) -> str:
        if named := re.search(r"-X (\w+)", self.command):
            return named[1]
        return "POST" if re.search(r" (--json|-d) ", self.command) else "GET"

    @property
    def path(self) -> str:
        found = ADDRESS.search(self.command)
        assert found, self.command
        return found[1]


def examples() -> Iterator[Example]:
    for found in EXAMPLE.finditer(GUIDE):
        yield Example(found["command"], int(found["status"]), found["body"] or "", found["before"] or "")


EXAMPLES = list(examples())


def endpoints(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, str, re.Pattern[str]]]:
    """(method, address as the guide writes it, pattern of its path below /api/v1) of every endpoint."""
    for entry in resolver.url_patterns:
        path = prefix + re.sub(r"<int:(\w+)>", r"(?P<\1>[0-9]+)", str(entry.pattern).lstrip("^"))
        if isinstance(entry, URLResolver):
            yield from endpoints(entry, path)
        elif path.startswith("api/v1/") and isinstance(entry, URLPattern):
            pattern = "/" + path.removeprefix("api/v1/").removesuffix(r"\Z").removesuffix("$")
            address = re.sub(r"\(\?P<(\w+)>[^)]+\)", r"{\1}", pattern)
            for method in methods_of(entry.callback):
                yield method.upper(), re.sub(r"{(?:pk|\w+_id)}", "{id}", address), re.compile(pattern)


def methods_of(view: Any) -> list[str]:
    """Of a view set those of this route, of another view all that it has."""
    return list(getattr(view, "actions", None) or [name for name in METHODS if hasattr(view.cls, name)])


METHODS = ("get", "post", "put", "patch", "delete")
ENDPOINTS = list(endpoints(get_resolver()))


def test_the_guide_lists_exactly_the_endpoints_that_are_routed():
    listed = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S+)` \|", GUIDE, re.MULTILINE)
    assert sorted(listed) == sorted((method, address) for method, address, _pattern in ENDPOINTS)


@pytest.mark.parametrize(("method", "address", "pattern"), ENDPOINTS, ids=lambda value: str(value))
def test_every_endpoint_has_an_example_that_succeeds(method, address, pattern):
    assert [
        example
        for example in EXAMPLES
        if example.method == method and pattern.fullmatch(example.path) and example.status < 300
    ]


def test_every_command_of_the_guide_is_an_example():
    assert len(EXAMPLES) == GUIDE.count("```sh\ncurl ")
    assert {example.before for example in EXAMPLES} - {""} == set(EVENTS)


def a_worker_samples() -> None:
    for run in SampleRun.objects.filter(state=RunState.RUNNING).order_by("id"):
        for request in requests.claim(run=run, worker="w", limit=9, lease=make.MINUTE, now=make.NOW):
            for k in range(run.k):
                written = requests.Written(
                    k=k,
                    text=["The Danube.", "It is the Rhine, I think.", "Name a river yourself!", "Amazon"][k],
                    token_count=4 + k,
                    finish_reason=FinishReason.STOP,
                    seed=7 + k,
                    attempt=0,
                    parameters={"temperature": run.temperature, "top_p": run.top_p},
                    checkpoint_hash="8f14e45fceea167a",
                    provenance={"engine": "arena", "torch": "2.13.0"},
                )
                requests.store(run=run, prompt_id=request.prompt_id, written=written, now=make.NOW)
            requests.finish(request=request, now=make.NOW)


def a_prompt_of_a_run_fails() -> None:
    run = SampleRun.objects.get(state=RunState.RUNNING)
    for request in requests.claim(run=run, worker="w", limit=9, lease=make.MINUTE, now=make.NOW):
        requests.fail(request=request, error="The policy's folder is missing.", now=make.NOW, final=True)


def a_worker_probes() -> None:
    probe = probes.claim(worker="w", lease=make.MINUTE, now=make.NOW)
    probes.finish(probe=probe, findings={"seed": True}, now=make.NOW)


def an_import_finds_an_equal_text() -> None:
    """Customers of two pools sent the same text, and their groups are on different sides of the split."""
    PromptGroup.objects.create(key="customer:zenith", split=Split.VALID, created_at=make.NOW)
    draft = pools.PromptDraft(
        messages=[{"role": "user", "content": "Name a river."}], source=Source.CUSTOMER, source_user="Zenith"
    )
    pools.add_prompt(pool=make.pool("Customers of the second product"), draft=draft, now=make.NOW)


def a_worker_creates_tasks() -> None:
    fill_campaigns()


def a_labeler_skips_a_task() -> None:
    campaign, labeler = Campaign.objects.get(name="Write answers"), make.user(username="lena")
    make.acknowledge(labeler, campaign)
    slot = work.claim(campaign_id=campaign.id, labeler=labeler, now=make.NOW)
    work.skip(assignment_id=slot.id, labeler=labeler, reason="expertise", note="Which continent?", now=make.NOW)


def a_worker_writes_the_export() -> None:
    exports.run(export_id=Export.objects.get(state=ExportState.WAITING).id, clock=lambda: make.NOW)


def an_export_finds_a_leak() -> None:
    used = Prompt.objects.order_by("id")[0]
    other = make.prompt(Pool.objects.get(id=2), in_group=make.group(split=Split.VALID))
    leak = {"prompt": other.id, "twin": used.id, "reason": "equal_text"}
    Export.objects.filter(state=ExportState.WAITING).update(
        state=ExportState.FAILED,
        error="1 prompt is on both sides of the split.",
        leaks=[leak],
        finished_at=make.NOW + timedelta(minutes=1),
    )


EVENTS: dict[str, Callable[[], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        a_worker_samples,
        a_prompt_of_a_run_fails,
        a_worker_probes,
        an_import_finds_an_equal_text,
        a_worker_creates_tasks,
        a_labeler_skips_a_task,
        a_worker_writes_the_export,
        an_export_finds_a_leak,
    )
}


def differences(shown: Any, real: Any, at: str = "") -> list[str]:
    """Where the guide's JSON is not that of the answer: other fields, types, numbers, ids or states.

    Sentences, times and hashes only have to be strings in both.
    """
    if isinstance(shown, dict) and isinstance(real, dict):
        missing = [f"{at}.{name}: not in the answer" for name in shown if name not in real and name != MORE]
        unshown = [f"{at}.{name}: not in the guide" for name in real if name not in shown and MORE not in shown]
        both = [name for name in shown if name in real]
        return (
            missing + unshown + [line for name in both for line in differences(shown[name], real[name], f"{at}.{name}")]
        )
    if isinstance(shown, list) and isinstance(real, list):
        if len(shown) != len(real):
            return [f"{at}: {len(shown)} shown, {len(real)} in the answer"]
        pairs = enumerate(zip(shown, real, strict=True))
        return [line for place, (left, right) in pairs for line in differences(left, right, f"{at}[{place}]")]
    if isinstance(shown, str) and isinstance(real, str) and free(shown) and free(real):
        return []
    return [] if shown == real and type(shown) is type(real) else [f"{at}: {shown!r} shown, {real!r} in the answer"]


def free(text: str) -> bool:
    """Is the string a sentence, a time, an address or a hash?"""
    return bool(re.search(r" |://|^\d{4}-\d\d-\d\dT|^[0-9a-f]{16,}$", text))


@pytest.mark.parametrize(
    ("shown", "real", "at"),
    [
        ({"id": 1}, {"id": 1, "name": "x"}, ".name"),
        ({"id": 1, "x": 2}, {"id": 1}, ".x"),
        ({"id": 1}, {"id": 2}, ".id"),
        ({"id": 1}, {"id": "1"}, ".id"),
        ({"at": None}, {"at": "2030-01-01T12:00:00Z"}, ".at"),
        ({"state": "open"}, {"state": "closed"}, ".state"),
        ([1], [1, 2], ""),
        ({"a": [{"b": True}]}, {"a": [{"b": 1}]}, ".a[0].b"),
    ],
)
def test_a_difference_is_noticed(shown, real, at):
    (found,) = differences(shown, real)
    assert found.startswith(f"{at}:")


def test_words_times_and_fields_that_are_left_out_are_no_difference():
    shown = {"detail": "It is closed.", "at": "2026-11-29T01:00:00Z", MORE: MORE}
    assert not differences(shown, {"detail": "The run is over.", "at": "2030-01-01T12:00:00Z", "id": 1})


@pytest.fixture
def files(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "exports": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": settings.STORAGES["exports"]["OPTIONS"] | {"location": tmp_path / "storage"},
        }
    }
    return storages["exports"]


@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_curl_gets_what_the_guide_shows(live_server, files, tmp_path):
    assert shutil.which("curl"), "curl is not installed; bin/test installs it where it may"
    make.guideline("Helpful, truthful, harmless")
    token = make.api_token(make.user(Role.MANAGER, username="manager"))
    (tmp_path / ".curlrc").write_text('silent\nnoproxy = "*"\nwrite-out = "\\n%{http_code}"\n')
    environment = {
        "PATH": os.environ["PATH"],
        "CURL_HOME": str(tmp_path),
        "API": f"{live_server.url}/api/v1",
        "AUTH": f"Authorization: Token {token}",
    }
    for example in EXAMPLES:
        if example.before:
            EVENTS[example.before]()
        process = subprocess.run(
            ["sh", "-c", example.command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        body, _, status = process.stdout.rpartition("\n")
        assert status == str(example.status), f"{example.command}\n{body}\n{process.stderr}"
        if example.body:
            assert differences(json.loads(example.body), json.loads(body)) == [], example.command
