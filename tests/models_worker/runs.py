"""Runs of tiny policies, for tests of what happens around the engine."""

from collections import Counter
from pathlib import Path
from typing import Any

from django.utils import timezone

from annotate.pools.models import Pool
from annotate.samples import runs
from annotate.samples.models import Completion, Policy, SampleRun
from models_worker.engine.params import derive_seed
from tests import factories as make


def pool_of(size: int) -> Pool:
    pool, group = make.pool(), make.group()
    for number in range(size):
        make.prompt(
            pool, f"Prompt {number}: say something about {'the sea and ' * (number % 5)}the wind.", in_group=group
        )
    return pool


def start(folder: Path, size: int = 5, *, policy: Policy | None = None, **given: Any) -> SampleRun:
    values = {"k": 4, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 12, "stop": [], "seed": 11, "by": None}
    return runs.start(
        **values
        | {
            "pool": given.pop("pool", None) or pool_of(size),
            "policy": policy or make.policy(location=str(folder)),
            "now": timezone.now(),
        }
        | given
    )


def texts(run: SampleRun) -> dict[tuple[str, int], tuple[str, int, int]]:
    """What is stored: by the prompt's text and k, the completion's text, seed and attempt."""
    rows = Completion.objects.filter(run=run).select_related("prompt")
    return {(row.prompt.text, row.k): (row.text, row.seed, row.attempt) for row in rows}


def check_completions(run: SampleRun) -> None:
    """No (prompt, k) twice, each under the seed that is its own, and all K where the prompt counts as done."""
    rows = list(Completion.objects.filter(run=run))
    assert len({(row.prompt_id, row.k) for row in rows}) == len(rows)
    for row in rows:
        assert row.seed == derive_seed(run.seed, run.policy.revision, str(row.prompt_id), row.k, row.attempt)
    per_prompt = Counter(row.prompt_id for row in rows)
    assert {per_prompt[request.prompt_id] for request in run.requests.filter(state="done")} <= {run.k}


def check_whole(run: SampleRun) -> None:
    """All that was asked for is there, and nothing is left to do."""
    run.refresh_from_db()
    check_completions(run)
    assert set(run.requests.values_list("state", flat=True)) == {"done"}
    assert (run.state, run.finished_at is not None) == ("done", True)
