"""Measure how long the slate supply of a campaign takes on a large pool: idle, refill, exhausted pool.

    DATABASE_URL=postgresql://user@host/database python bench/supply.py [--prompts 1000000]

Creates and drops a database on that server. Half of the prompts have a slate. Also measures the comparison of two long
completions. Prints one JSON line at the end.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.exports import database, manage, run_sql, version  # noqa: E402

TEXT = "the quick brown fox jumps over the lazy dog while the committee reads the minutes "
FILL = """
INSERT INTO accounts_user (id, username, password, first_name, last_name, email, is_staff, is_active, is_superuser,
                           date_joined, role, cohort, languages)
    VALUES (1, 'boss', '', '', '', '', false, true, false, now(), 'manager', 'training', '[]');
INSERT INTO guidelines_guideline (id, name, created_at) VALUES (1, 'bench', now());
INSERT INTO pools_pool (id, name, description, created_at) VALUES (1, 'bench', '', now());
INSERT INTO pools_promptgroup (id, key, split, created_at) VALUES (1, 'group', 'train', now());
INSERT INTO pools_prompt (id, pool_id, group_id, messages, kind, source, source_user, category, language, licence,
                          external_id, authors, priority, text, content_hash, created_at)
    SELECT i, 1, 1, '[]', 'plain', 'labeler', '', '', 'en', '', '', '{}', i %% 7, 'Prompt ' || i,
           encode(sha256(i::text::bytea), 'hex'), now()
    FROM generate_series(1, %(n)s) i;
"""
# The slates of the first half of the pool, all opened by labelers.
USED = """
INSERT INTO work_task (campaign_id, prompt_id, created_at, excused)
    SELECT %(campaign)s, id, now(), 0 FROM pools_prompt WHERE id <= %(half)s;
INSERT INTO work_assignment (task_id, campaign_id, language, slot, position, state, hand, needs_review, comment, rounds)
    SELECT id, %(campaign)s, 'en', 1, id * 64, 'cancelled', 0, false, '', 0
    FROM work_task WHERE campaign_id = %(campaign)s;
INSERT INTO rankings_slate (campaign_id, version_id, prompt_id, state, why, rounds, task_id)
    SELECT %(campaign)s, %(version)s, prompt_id, 'used', '', 0, id FROM work_task WHERE campaign_id = %(campaign)s;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    asked = parser.parse_args()
    server = os.environ.get("DATABASE_URL") or sys.exit("Name a PostgreSQL server in DATABASE_URL.")
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, {version(server)}")
    with database(server, f"bench_supply_{os.getpid()}") as url:
        manage(url, "migrate", "-v", "0")
        run_sql(url, FILL, {"n": asked.prompts})
        os.environ |= {"DATABASE_URL": url, "DEBUG": "1", "CELERY_BROKER_URL": "memory://"}
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
        figures = measure(url, asked.prompts)
    print(json.dumps(figures))


def measure(url: str, prompts: int) -> dict[str, float]:
    import django

    django.setup()
    from django.db import connection

    from annotate.samples.gate import alike, read
    from annotate.work.models import Order

    figures: dict[str, float] = {}
    try:
        # Breadth equals depth here.
        for order in (Order.DEPTH, Order.PRIORITY, Order.RANDOM):
            figures |= {f"{order}_{name}_ms": took for name, took in measure_order(url, prompts, order).items()}
    finally:
        connection.close()
    one, other = TEXT * 30, TEXT * 30 + "and ends"
    figures["read_ms"] = timed(lambda: read(one))
    readings = read(one), read(other)
    figures["alike_ms"] = timed(lambda: alike(*readings))
    return figures


def measure_order(url: str, prompts: int, order: str) -> dict[str, float]:
    from django.conf import settings
    from django.utils import timezone

    from annotate.rankings import slate_queries, slate_supply
    from annotate.rankings.models import Mix, Slate
    from annotate.rankings.rules import Share
    from annotate.samples.models import Policy
    from annotate.work.models import Campaign

    settings.DEBUG = False  # or Django keeps every statement
    now = timezone.now()
    policy = Policy.objects.create(name=order, location="/models/bench", created_at=now)
    values = {"pool_id": 1, "guideline_id": 1, "cohorts": ["training"], "state": "open", "opened_at": now}
    campaign = Campaign.objects.create(name=order, workflow="rankings", order=order, created_at=now, **values)
    shares = [Share(policy_id=policy.id, count=4)]
    marks = {"low": 20, "high": 60, "cut_off_allowed": True, "renew": True}
    slate_supply.save_mix(campaign=campaign, shares=shares, seed=1, **marks)
    mix = Mix.objects.get(campaign=campaign)
    version = mix.versions.create(parts=slate_queries.resolved(mix), made_at=now)
    if order in slate_queries.BY_ID:
        # The position of the last used slate; other orders have no such position.
        Mix.objects.filter(campaign=campaign).update(reached=prompts // 2)
    run_sql(url, USED, {"campaign": campaign.id, "version": version.id, "half": prompts // 2})
    run_sql(url, "ANALYZE")
    look = lambda: slate_supply.refill(campaign=campaign, now=timezone.now())  # noqa: E731  # what is measured
    figures = {
        "refill": timed(look, once=True),
        "full": timed(look),
        "page": timed(lambda: slate_queries.slate_counts(campaign)),
    }
    # An exhausted pool: all further prompts have opened slates.
    Slate.objects.filter(campaign=campaign, state="sampling").delete()
    Mix.objects.filter(campaign=campaign).update(reached=prompts)
    return figures | {"exhausted": timed(look)}


def timed(call: Callable[[], object], *, once: bool = False) -> float:
    """Milliseconds: of one call, or the median of seven."""
    took = []
    for _ in range(1 if once else 7):
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1000)
    return round(sorted(took)[len(took) // 2], 1)


if __name__ == "__main__":
    main()
