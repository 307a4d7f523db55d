"""Measure speed and memory of an export, with N and 10 N rankings.

    DATABASE_URL=postgresql://user@host/database python bench/exports.py [--rankings 2000] [--candidates 9]

Creates and drops a database for each size on that server. Memory is the peak resident size of the process
`manage.py export`. Prints one JSON line at the end.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

ROOT = Path(__file__).resolve().parent.parent
TEXT = "the quick brown fox jumps over the lazy dog while the committee reads the minutes "

# Every prompt has one ranking of K completions of about a kilobyte each; a third of the prompts are customers'.
FILL = """
INSERT INTO accounts_user (id, username, password, first_name, last_name, email, is_staff, is_active, is_superuser,
                           date_joined, role, cohort, languages)
    SELECT i, 'labeler' || i, '', '', '', '', false, true, false, now(), 'labeler', 'training', '[]'
    FROM generate_series(1, 40) i;
INSERT INTO guidelines_guideline (id, name, created_at) VALUES (1, 'bench', now());
INSERT INTO guidelines_guidelineversion (id, guideline_id, number, body, summary, created_by_id, created_at,
                                         published_at)
    SELECT 1, 1, 1, 'Be helpful.', '', 1, now(), now();
INSERT INTO pools_pool (id, name, description, created_at) VALUES (1, 'bench', '', now());
INSERT INTO pools_promptgroup (id, key, split, created_at)
    SELECT i, 'group ' || i, CASE WHEN i %% 10 = 0 THEN 'valid' ELSE 'train' END, now()
    FROM generate_series(1, %(n)s) i;
INSERT INTO pools_prompt (id, pool_id, group_id, messages, kind, source, source_user, category, language, licence,
                          external_id, authors, priority, text, content_hash, created_at)
    SELECT i, 1, i,
           jsonb_build_array(
               jsonb_build_object('role', 'user', 'content', 'Prompt ' || i || ' ' || repeat(%(text)s, 4))),
           'plain', CASE WHEN i %% 3 = 0 THEN 'customer' ELSE 'labeler' END, '', '', 'en', '', '', '{}', 0,
           'Prompt ' || i, encode(sha256(i::text::bytea), 'hex'), now()
    FROM generate_series(1, %(n)s) i;
INSERT INTO samples_policy (id, name, revision, stage, origin, location, served_model, endpoint, key_name, adapter,
                            chat_template, examples, dtype, quantisation, unsafe_weights, needs_gpu, created_at)
    VALUES (1, 'bench', '1', 'sft', 'local', '/models/bench', '', '', '', '', '', '[]', 'auto', 'none', false, false,
            now());
INSERT INTO samples_completion (id, prompt_id, policy_id, text, text_hash, finish_reason, attempt, parameters,
                                policy_revision, checkpoint_hash, provenance, created_at)
    SELECT p * 16 + k, p, 1, 'Completion ' || k || ' ' || repeat(%(text)s, 12),
           encode(sha256((p * 16 + k)::text::bytea), 'hex'), 'imported', 0, '{}', '1', '', '{}', now()
    FROM generate_series(1, %(n)s) p, generate_series(1, %(k)s) k;
INSERT INTO work_campaign (id, name, workflow, pool_id, guideline_id, overlap, "order", order_seed, skip_limit,
                           undo_minutes, lease_minutes, review_percent, cohorts, languages,
                           state, created_at, opened_at)
    VALUES (1, 'bench', 'rankings', 1, 1, 1, 'depth', 0, 3, 5, 30, 0, '["training"]', '["en"]', 'open',
            now(), now());
INSERT INTO work_task (id, campaign_id, prompt_id, created_at, excused)
    SELECT i, 1, i, now(), 0 FROM generate_series(1, %(n)s) i;
INSERT INTO work_assignment (id, task_id, campaign_id, language, slot, position, state, hand, labeler_id,
                             submitted_at, guideline_version_id, needs_review, decided_at, comment, rounds)
    SELECT i, i, 1, 'en', 1, i * 64 + 1, 'accepted', 0, 1 + i %% 40, now(), 1, false, now(), '', 0
    FROM generate_series(1, %(n)s) i;
INSERT INTO rankings_candidate (id, task_id, completion_id)
    SELECT p * 16 + k, p, p * 16 + k FROM generate_series(1, %(n)s) p, generate_series(1, %(k)s) k;
INSERT INTO rankings_showing (task_id, labeler_id, "order", shown_at)
    SELECT p, 1 + p %% 40, (SELECT jsonb_agg(p * 16 + k) FROM generate_series(1, %(k)s) k), now()
    FROM generate_series(1, %(n)s) p;
INSERT INTO rankings_ranking (id, assignment_id, note, ranked_at)
    SELECT i, i, '', now() FROM generate_series(1, %(n)s) i;
INSERT INTO rankings_placing (ranking_id, candidate_id, rating, rank)
    SELECT p, p * 16 + k, 1 + (p + k) %% 7, 1 + (p + k * 5) %% %(k)s
    FROM generate_series(1, %(n)s) p, generate_series(1, %(k)s) k;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rankings", type=int, default=2000, help="N; the second run has ten times as many")
    parser.add_argument("--candidates", type=int, default=9, choices=range(4, 10))
    asked = parser.parse_args()
    server = os.environ.get("DATABASE_URL") or sys.exit("Name a PostgreSQL server in DATABASE_URL.")
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, {version(server)}")
    print(f"{asked.candidates} completions of about 1 kB a ranking; one process, files on {tempfile.gettempdir()}")
    base = f"bench_exports_{os.getpid()}"
    with database(server, base) as url:
        manage(url, "migrate", "-v", "0")
        small, large = (
            measure(server, base, rankings, asked.candidates) for rankings in (asked.rankings, 10 * asked.rankings)
        )
    figures = {
        "rankings": [small["rankings"], large["rankings"]],
        "rankings_per_s": [small["rankings_per_s"], large["rankings_per_s"]],
        "rows_per_s": [small["rows_per_s"], large["rows_per_s"]],
        "mb_per_s": [small["mb_per_s"], large["mb_per_s"]],
        "peak_mb": [small["peak_mb"], large["peak_mb"]],
        "peak_ratio": round(large["peak_mb"] / small["peak_mb"], 2),
    }
    print(json.dumps(figures))


def version(server: str) -> str:
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0]}"


@contextmanager
def database(server: str, name: str, like: str = "template1") -> Iterator[str]:
    """The URL of a new database on the server, which is dropped at the end."""
    run_sql(server, f"CREATE DATABASE {name} TEMPLATE {like}")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        run_sql(server, f"DROP DATABASE {name}")


def measure(server: str, base: str, rankings: int, candidates: int) -> dict[str, float]:
    with database(server, f"{base}_{rankings}", like=base) as url, tempfile.TemporaryDirectory() as folder:
        run_sql(url, FILL, {"n": rankings, "k": candidates, "text": TEXT})
        run_sql(url, "ANALYZE")
        return measure_export(url, rankings, Path(folder) / "export")


def measure_export(url: str, rankings: int, out: Path) -> dict[str, float]:
    idle = manage(url, "help", "export")[1]
    seconds, peak = manage(url, "export", "bench", "--out", str(out))
    manifest = json.loads((out / "manifest.json").read_text())
    rows = sum(file["rows"] for file in manifest["files"])
    size = sum(file["bytes"] for file in manifest["files"])
    print(
        f"{rankings} rankings: {rows} rows, {size / 1e6:.0f} MB in {seconds:.1f} s, start included"
        f" = {rankings / seconds:.0f} rankings/s, {rows / seconds:.0f} rows/s, {size / 1e6 / seconds:.1f} MB/s;"
        f" peak {peak:.0f} MB, {idle:.0f} MB of it before the first row"
    )
    return {
        "rankings": rankings,
        "rankings_per_s": round(rankings / seconds),
        "rows_per_s": round(rows / seconds),
        "mb_per_s": round(size / 1e6 / seconds, 1),
        "peak_mb": round(peak, 1),
    }


def manage(url: str, *command: str) -> tuple[float, float]:
    """Seconds and peak resident megabytes of one manage.py process."""
    surroundings = os.environ | {"DATABASE_URL": url, "DEBUG": "0", "SECRET_KEY": "bench", "SPLIT_KEY": "bench"}
    before = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=surroundings, stdout=subprocess.DEVNULL
    )
    _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"manage.py {' '.join(command)} failed.")
    # Linux counts kilobytes, macOS bytes.
    return time.monotonic() - before, used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def run_sql(url: str, statements: str, values: dict[str, object] | None = None) -> None:
    connection = psycopg2.connect(url)
    # CREATE DATABASE cannot run in a transaction.
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statements, values)
    finally:
        connection.close()


if __name__ == "__main__":
    main()
