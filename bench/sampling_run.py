"""The part of bench/sampling.py that needs Django: measure a sampling run through a real Celery worker.

`python -m bench.sampling_run '{"folder": ..., "prompts": 64}'`, with the environment of the platform it measures. A
first run of a few prompts brings the worker up and the policy into its memory; only the second one is measured.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
django.setup()

import psutil  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db.models import Sum  # noqa: E402
from django.utils import timezone  # noqa: E402

from annotate.pools.models import Kind, Pool, Prompt, PromptGroup, Source, Split  # noqa: E402
from annotate.samples import runs  # noqa: E402
from annotate.samples.models import Completion, Origin, Policy, SampleRun  # noqa: E402
from annotate.samples.states import RequestState, RunState  # noqa: E402
from bench.sampler import Job, as_text, prompt_ids  # noqa: E402

PATIENCE = 1800


def main(job: Job) -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    for name in ("broker", "broker-control"):
        (Path(settings.VAR_DIR) / name).mkdir(parents=True, exist_ok=True)
    policy = Policy.objects.create(
        name="bench", origin=Origin.LOCAL, location=job.folder, dtype=job.dtype, created_at=timezone.now()
    )
    warm_up = start(policy, replace(job, prompts=2, max_new_tokens=4))
    log = Path(settings.VAR_DIR) / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "annotate.celery", "worker", "-P", "solo", "-Q", "sampling"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: ended(warm_up), worker, log)
        used = psutil.Process(worker.pid)
        run = start(policy, job)
        cpu, wall = cpu_seconds(used), time.monotonic()
        wait_until(lambda: ended(run), worker, log)
        cpu, wall = cpu_seconds(used) - cpu, time.monotonic() - wall
    finally:
        worker.terminate()
        worker.wait(60)
    if failed := run.requests.exclude(state=RequestState.DONE).count():
        raise SystemExit(f"{failed} prompts were not sampled:\n{log.read_text()[-2000:]}")
    completions = Completion.objects.filter(run=run)
    tokens = completions.aggregate(tokens=Sum("token_count"))["tokens"]
    return {
        "completions": completions.count(),
        "tok_per_cpu_s": round(tokens / cpu, 1),
        "tok_per_s": round(tokens / wall, 1),
    }


def start(policy: Policy, job: Job) -> SampleRun:
    now = timezone.now()
    pool = Pool.objects.create(name=f"bench of {job.prompts}", created_at=now)
    for ids in prompt_ids(job):
        text = as_text(ids)
        key = hashlib.sha256(text.encode()).hexdigest()
        group, _made = PromptGroup.objects.get_or_create(key=key, defaults={"split": Split.TRAIN, "created_at": now})
        Prompt.objects.create(
            pool=pool,
            group=group,
            messages=[{"role": "user", "content": text}],
            text=text,
            content_hash=key,
            kind=Kind.PLAIN,
            source=Source.LABELER,
            created_at=now,
        )
    return runs.start(
        pool=pool,
        policy=policy,
        k=job.k,
        temperature=1.0,
        top_p=1.0,
        max_new_tokens=job.max_new_tokens,
        stop=[],
        seed=1,
        by=None,
        now=now,
    )


def ended(run: SampleRun) -> bool:
    return not SampleRun.objects.filter(id=run.id, state=RunState.RUNNING).exists()


def wait_until(happened: Callable[[], bool], worker: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The worker did not get through:\n{log.read_text()[-2000:]}")
        # Rarely, so that the queries do not disturb the measurement.
        time.sleep(0.1)


def cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


if __name__ == "__main__":
    print(json.dumps(main(Job(**json.loads(sys.argv[1])))))
