from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from annotate.samples import requests, runs
from annotate.samples.models import Completion, FinishReason, SampleRequest, SampleRun
from annotate.samples.requests import Written
from tests import factories as make

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
PARAMETERS = {"k": 2, "temperature": 1.0, "top_p": 0.9, "max_new_tokens": 20, "stop": ["\n\n"], "seed": 7}


@pytest.fixture
def start(db: None) -> Callable[..., SampleRun]:
    """A run over a new pool of so many prompts."""

    def started(size: int = 3, **given: Any) -> SampleRun:
        pool = make.pool()
        for _ in range(size):
            make.prompt(pool)
        return runs.start(
            **PARAMETERS
            | {"pool": pool, "policy": given.get("policy") or make.policy(), "by": None, "now": NOW}
            | given
        )

    return started


def claim(run: SampleRun, *, worker: str = "a", limit: int = 10, now: datetime = NOW) -> list[SampleRequest]:
    return requests.claim(run=run, worker=worker, limit=limit, lease=LEASE, now=now)


def write(
    run: SampleRun, prompt_id: int, k: int, text: str | None = None, *, at: datetime = NOW, tokens: int = 5
) -> Completion:
    written = Written(
        k=k,
        text=f"completion {k}" if text is None else text,
        token_count=tokens,
        finish_reason=FinishReason.STOP,
        seed=100 + k,
        attempt=0,
        parameters={"temperature": run.temperature},
        checkpoint_hash="c" * 64,
        provenance={"engine": "test"},
    )
    requests.store(run=run, prompt_id=prompt_id, written=written, now=at)
    return Completion.objects.get(run=run, prompt_id=prompt_id, k=k)


def finish(run: SampleRun, request: SampleRequest, *, now: datetime = NOW) -> bool:
    for k in range(run.k):
        write(run, request.prompt_id, k)
    return requests.finish(request=request, now=now)
