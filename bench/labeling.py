"""Measure how fast the desk assigns tasks and stores answers, with up to a million tasks.

    python bench/labeling.py [--quick] [--only closed,open,opening,lone,floor,statements,plan] [--seconds 20]

Runs the platform as bin/start does (gunicorn, worker, beat, an embedded PostgreSQL with durable defaults) in a
temporary folder, with clients on the same cores. The time of a submit is from the click to the answer that confirms it;
that of a next task, or claim, from the same click until the next task's page is complete.

    closed      32 labelers without pauses, campaigns of 10 thousand, 100 thousand and 1 million tasks, overlap 3
    open        1,000 labelers with one task a minute each, with drafts, heartbeats and prefetched pages;
                latency counts from the time at which a click was due
    opening     a campaign of 1 million tasks is opened by the worker while a labeler works in another one
    lone        the cost of a claim among 1 million tasks for labelers with 1, 1,000 and 20,000 answers
    floor       the engine without HTTP, 8 labelers in as many processes as the web has, against pgbench with plain SQL
                on the same table
    statements  the number of SQL statements of a claim and of a submit
    plan        EXPLAIN (ANALYZE, BUFFERS) of a claim among 1 million tasks

At the end it checks that every confirmed answer is stored once and that no task exceeds its overlap. Prints one JSON
line; parts that did not run are null.
"""

import argparse
import asyncio
import json
import os
import platform as machine
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from annotate.launch.postgres_binaries import installed  # noqa: E402
from annotate.launch.start import WEB_PROCESSES, WEB_THREADS  # noqa: E402
from annotate.lib.prepared import in_short  # noqa: E402
from bench import desk  # noqa: E402

PARTS = ("opening", "closed", "open", "lone", "floor", "statements", "plan")
QUICK = ("closed", "lone", "floor", "statements")
SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
OVERLAP = 3
LABELERS = 32
CROWD = 1000
A_TASK_SECONDS = 60.0
WARM_UP = 3.0
ROUNDS = 3
LONGEST_OPENING = 3000
# Seconds after loading a page at which the crowd's browsers prefetch, save drafts and send the heartbeat.
AHEAD_AFTER = 5.0
DRAFTS_AFTER = (20.0, 40.0)
HEARTBEAT_AFTER = 55.0
LEVELS = (1, 1000, 20_000)
CLIENTS = 8
# Rates of other tools on the same machine with a similar load, measured with their own pages.
OTHERS = (
    "Label Studio 1.23: 12.7 tasks/s at 10k, 6.4 at 100k (next task p50 2.5 s, p99 5.1 s); doccano, without overlap:"
    " 33-37; Potato: 23-25; a bare Django view with claim and store: 827 requests/s"
)
CLOSED = "tasks_per_s next_p50_ms next_p95_ms next_p99_ms submit_p50_ms submit_p95_ms submit_p99_ms"
FIGURES = (
    *(f"closed_{name}_{size}" for size in SIZES for name in CLOSED.split()),
    *"closed_ratio_1m_10k closed_errors driver_cpu".split(),
    *"open_claim_p50_ms open_claim_p99_ms open_submit_p50_ms open_submit_p99_ms".split(),
    *"open_ahead_p99_ms open_other_p99_ms open_errors".split(),
    *"open_campaign_1m_s open_campaign_peak_mb open_campaign_desk_p99_ms".split(),
    *"lone_ratio_1k lone_ratio_20k lone_page_ratio_1k lone_page_ratio_20k".split(),
    *"engine_tasks_per_s floor_tasks_per_s engine_vs_floor engine_vs_floor_by_cpu".split(),
    *"queries_claim queries_submit queries_page_submit queries_page_task over_assigned doubled lost".split(),
)

# One transaction to claim and one to store, as in the engine. Each client has a cursor and a labeler for each slot of a
# task, so that it need not check for earlier answers: the minimum for a queue in this table.
FLOOR = """
BEGIN;
UPDATE work_assignment SET state = 'leased', labeler_id = :first + :client_id * 3 + slot - 1, claimed_at = now(),
       leased_until = now() + interval '30 minutes', guideline_version_id = :version
    WHERE id = (SELECT id FROM work_assignment
                WHERE campaign_id = :campaign AND state = 'open' AND language = 'en' AND position > :cursor
                ORDER BY position LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, position \\gset got_
COMMIT;
\\set cursor :got_position
BEGIN;
UPDATE work_assignment SET state = 'accepted', submitted_at = now(), decided_at = now(), leased_until = NULL,
       submit_key = gen_random_uuid()
    WHERE id = :got_id AND state = 'leased';
INSERT INTO demonstrations_demonstration (assignment_id, text, written_at)
    VALUES (:got_id, 'because the parts that make it up pull at each other, and so it holds together.', now());
COMMIT;
"""


@dataclass
class Site:
    """A platform with its campaigns by size, and their labelers."""

    platform: desk.Platform
    engine: desk.Engine
    pools: dict[str, int] = field(default_factory=dict)
    campaigns: dict[str, int] = field(default_factory=dict)
    labelers: dict[str, list[desk.Labeler]] = field(default_factory=dict)

    def new_people(self, number: int) -> list[desk.Account]:
        return desk.make_people(self.engine, number)

    def new_labelers(self, size: str, number: int) -> list[desk.Labeler]:
        campaign = self.campaign(size)
        made = [desk.Labeler(self.platform.port, account, campaign) for account in self.new_people(number)]
        self.labelers.setdefault(size, []).extend(made)
        return made

    def pool(self, size: str) -> int:
        if size not in self.pools:
            with timed(f"a pool of {SIZES[size]:,} prompts"):
                self.pools[size] = self.engine.ask("pool", name=size, prompts=SIZES[size])
        return self.pools[size]

    def campaign(self, size: str) -> int:
        """An open campaign of this size, with all its tasks."""
        if size not in self.campaigns:
            self.campaigns[size] = self.new_campaign(size, size)
        return self.campaigns[size]

    def new_campaign(self, name: str, size: str) -> int:
        pool = self.pool(size)
        with timed(f"the tasks of campaign {name}"):
            made: int = self.engine.ask("campaign", name=name, pool=pool, overlap=OVERLAP)
            self.engine.ask("fill", campaign=made)
            self.engine.ask("open_campaign", campaign=made, wake_worker=False)
            self.settle()
        return made

    def settle(self) -> None:
        """Run vacuum and flush writes, so that all parts start in the same state."""
        self.platform.rows("VACUUM (ANALYZE) work_task, work_assignment")
        os.sync()


@contextmanager
def site() -> Iterator[Site]:
    with desk.platform() as platform, desk.engine(platform) as inside:
        yield Site(platform, inside)


class timed:  # noqa: N801
    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        print(f"  ({self.what}: {time.monotonic() - self.began:.1f} s)", flush=True)


@dataclass
class Heard:
    """Seconds of each request by kind, and errors."""

    submit: list[float] = field(default_factory=list)
    next: list[float] = field(default_factory=list)
    # Claiming and loading a page in advance.
    ahead: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Load:
    """Processor time by part during a measurement."""

    def __init__(self, platform: desk.Platform) -> None:
        self._platform = platform
        self._began, self._own, self._theirs = time.monotonic(), time.process_time(), platform.cpu()

    def so_far(self) -> dict[str, float]:
        theirs = self._platform.cpu()
        used = {name: theirs[name] - self._theirs[name] for name in theirs}
        passed = time.monotonic() - self._began
        return used | {"driver": time.process_time() - self._own, "seconds": passed}


Figures = dict[str, Any]


def main() -> None:
    asked = arguments()
    figures: Figures = dict.fromkeys(FIGURES)
    largest = asked.sizes[-1]
    with ExitStack() as stack:
        large = stack.enter_context(site())
        # The smallest campaign has a database of its own, without large tables.
        apart = "closed" in asked.only and len(asked.sizes) > 1
        small = stack.enter_context(site()) if apart else large
        print_conditions(large.platform)
        if "opening" in asked.only:
            figures |= opening(large, asked)
        if "closed" in asked.only:
            figures |= closed({size: small if size == asked.sizes[0] else large for size in asked.sizes}, asked)
        if "open" in asked.only:
            figures |= crowd(large, asked)
        if "lone" in asked.only:
            figures |= lone(large, largest, asked)
        if "floor" in asked.only:
            figures |= floor(large, asked)
        if "statements" in asked.only:
            figures |= statements(large, largest)
        if "plan" in asked.only:
            plan(large, largest)
        figures |= check({id(one): one for one in (small, large)}.values())
    print(f"Others, on a machine like the one of docs/benchmarks.md: {OTHERS}")
    print(json.dumps(figures))
    if any(figures[name] for name in ("over_assigned", "doubled", "lost")):
        sys.exit("The queue is not sound.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="closed, lone, floor and statements at 10k, in a minute")
    parser.add_argument("--only", help="the parts to run, with commas between")
    parser.add_argument("--sizes", help="of the campaigns: 10k,100k,1m or some of these")
    parser.add_argument("--seconds", type=float, help="how long each closed loop is measured (30; quick: 5)")
    parser.add_argument("--open-seconds", type=float, default=90, help="how long the open loop is measured (90)")
    asked = parser.parse_args()
    parts, sizes = (QUICK, ("10k",)) if asked.quick else (PARTS, tuple(SIZES))
    asked.only = asked.only.split(",") if asked.only else parts
    asked.sizes = asked.sizes.split(",") if asked.sizes else sizes
    if unknown := (set(asked.only) - set(PARTS)) | (set(asked.sizes) - set(SIZES)):
        parser.error(f"not known: {', '.join(unknown)}")
    asked.sizes = [size for size in SIZES if size in asked.sizes]
    if asked.sizes == ["10k"]:
        # It is the campaign of the labeler who works meanwhile.
        asked.only = [part for part in asked.only if part != "opening"]
    asked.seconds = asked.seconds or (5 if asked.quick else 30)
    return asked


def print_conditions(platform: desk.Platform) -> None:
    names = "fsync synchronous_commit full_page_writes shared_buffers max_connections".split()
    settings = ", ".join(f"{name} {platform.value(f'SHOW {name}')}" for name in names)
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {processor()}, {os.cpu_count()} cores, {machine.platform()}")
    print(f"{psutil.virtual_memory().total / 2**30:.0f} GiB; load {load()} before the first request")
    print(f"Python {machine.python_version()}, Django {version('django')}, gunicorn {version('gunicorn')}: ", end="")
    print(f"gthread, {WEB_PROCESSES} processes of {WEB_THREADS} threads; the driver on the same cores")
    print(f"PostgreSQL {platform.value('SHOW server_version')}, embedded: {settings}", flush=True)


def processor() -> str:
    try:
        named = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        named = None
    return named[1] if named else machine.processor() or machine.machine()


def load() -> str:
    return "/".join(f"{average:.1f}" for average in os.getloadavg())


def closed(sites: dict[str, Site], asked: argparse.Namespace) -> Figures:
    """32 labelers, each with the next click as soon as the page is there; the sizes in turn, several times, so that
    whatever else the machine does meets them all."""
    labelers = {size: where.new_labelers(size, LABELERS) for size, where in sites.items()}
    heard = {size: Heard() for size in sites}
    used: dict[str, dict[str, float]] = {size: {} for size in sites}
    rounds = ROUNDS if len(sites) > 1 else 1
    for number in range(rounds):
        for size, where in sites.items():
            warm_up = WARM_UP if number == 0 else WARM_UP / 3
            spent = asyncio.run(
                run_closed(where.platform, labelers[size], heard[size], warm_up, asked.seconds / rounds)
            )
            used[size] = {name: used[size].get(name, 0.0) + value for name, value in spent.items()}
    figures: Figures = {"closed_errors": sum(len(one.errors) for one in heard.values())}
    for size in sites:
        figures |= of_closed(size, heard[size], used[size])
    if {"10k", "1m"} <= set(sites):
        ratio = figures["closed_next_p50_ms_1m"] / figures["closed_next_p50_ms_10k"]
        figures["closed_ratio_1m_10k"] = round(ratio, 2)
        print(f"next task, medians, 1 million to 10 thousand: {ratio:.2f}")
    figures["driver_cpu"] = max(round(one["driver"] / one["seconds"], 2) for one in used.values())
    return figures


async def run_closed(
    platform: desk.Platform, labelers: list[desk.Labeler], heard: Heard, warm_up: float, seconds: float
) -> dict[str, float]:
    """Adds to `heard`. Returns the processor time of each part, and the elapsed seconds."""
    warming = Heard()
    end = time.monotonic() + warm_up
    await asyncio.gather(*(hurry(labeler, warming, end) for labeler in labelers))
    heard.errors += warming.errors
    before, end = Load(platform), time.monotonic() + seconds
    await asyncio.gather(*(hurry(labeler, heard, end) for labeler in labelers))
    used = before.so_far()
    for labeler in labelers:
        # The next round has another event loop.
        labeler.browser.close()
    return used


def of_closed(size: str, heard: Heard, used: dict[str, float]) -> Figures:
    done, seconds = len(heard.submit), used["seconds"]
    print(f"closed loop, {LABELERS} labelers, {SIZES[size]:,} tasks: {done / seconds:.1f} tasks/s")
    print_heard(heard)
    print_used(used, done)
    figures = {f"closed_tasks_per_s_{size}": round(done / seconds, 1)}
    for rank in (50, 95, 99):
        figures[f"closed_next_p{rank}_ms_{size}"] = desk.percentile(heard.next, rank)
        figures[f"closed_submit_p{rank}_ms_{size}"] = desk.percentile(heard.submit, rank)
    return figures


async def hurry(labeler: desk.Labeler, heard: Heard, end: float, pause: float = 0.0) -> None:
    while time.monotonic() < end:
        try:
            if not labeler.holds and not await labeler.claim():
                return
            await click(labeler, heard, time.monotonic())
        except (desk.Broken, desk.Refused) as wrong:
            heard.errors.append(str(wrong))
            await asyncio.sleep(0.2)
        if pause:
            await asyncio.sleep(pause)


async def click(labeler: desk.Labeler, heard: Heard, due: float) -> None:
    """Submit, next task."""
    more = await labeler.submit(labeler.form(desk.answer_text()))
    heard.submit.append(time.monotonic() - due)
    if more:
        await labeler.follow()
        heard.next.append(time.monotonic() - due)
    if more and labeler.was_ahead:
        # A prefetched page starts with a heartbeat.
        before = time.monotonic()
        await labeler.renew()
        heard.other.append(time.monotonic() - before)


def print_heard(heard: Heard) -> None:
    kinds = {"next task": heard.next, "submit": heard.submit}
    kinds |= {"next task made ready ahead": heard.ahead, "drafts, heartbeats": heard.other}
    for name, seconds in kinds.items():
        if seconds:
            ranks = ", ".join(f"p{rank} {desk.percentile(seconds, rank)}" for rank in (50, 95, 99))
            print(f"  {name}: {ranks} ms, longest {1000 * max(seconds):.0f} ms, {len(seconds)} of them")
    print(f"  errors: {len(heard.errors)}{', such as ' + heard.errors[0] if heard.errors else ''}", flush=True)


def print_used(used: dict[str, float], done: int) -> None:
    parts = {name: spent for name, spent in used.items() if name != "seconds"}
    shares = ", ".join(f"{name} {spent / used['seconds']:.2f}" for name, spent in parts.items())
    each = ", ".join(f"{name} {1000 * spent / max(done, 1):.1f}" for name, spent in parts.items())
    print(f"  cores in use: {shares}; ms of processor a task: {each}; load {load()}", flush=True)


def crowd(where: Site, asked: argparse.Namespace) -> Figures:
    """1,000 labelers with one task a minute. Clicks are due at fixed times, even if the platform is late."""
    labelers = where.new_labelers(asked.sizes[min(1, len(asked.sizes) - 1)], CROWD)
    heard, used = asyncio.run(run_crowd(where.platform, labelers, asked.open_seconds))
    done = len(heard.submit)
    print(f"open loop, {CROWD} labelers, a task a minute each, {done} tasks in {asked.open_seconds:.0f} s:")
    print_heard(heard)
    print_used(used, done)
    return {
        "open_claim_p50_ms": desk.percentile(heard.next, 50),
        "open_claim_p99_ms": desk.percentile(heard.next, 99),
        "open_submit_p50_ms": desk.percentile(heard.submit, 50),
        "open_submit_p99_ms": desk.percentile(heard.submit, 99),
        "open_ahead_p99_ms": desk.percentile(heard.ahead, 99),
        "open_other_p99_ms": desk.percentile(heard.other, 99),
        "open_errors": len(heard.errors),
    }


async def run_crowd(
    platform: desk.Platform, labelers: list[desk.Labeler], seconds: float
) -> tuple[Heard, dict[str, float]]:
    heard, chance = Heard(), random.Random(1)
    few = asyncio.Semaphore(WEB_PROCESSES * WEB_THREADS)
    await asyncio.gather(*(begin(labeler, few) for labeler in labelers))
    before, start = Load(platform), time.monotonic() + 1
    days = (plan_of(start, start + seconds, chance) for _ in labelers)
    await asyncio.gather(*(keep_to(plan, labeler, heard) for plan, labeler in zip(days, labelers, strict=True)))
    return heard, before.so_far()


async def begin(labeler: desk.Labeler, few: asyncio.Semaphore) -> None:
    async with few:
        await labeler.claim()
        labeler.browser.close()


def plan_of(start: float, end: float, chance: random.Random) -> list[tuple[float, str]]:
    """The times at which one person clicks and their browser sends requests."""
    page_at = start - chance.uniform(0, A_TASK_SECONDS)
    moments: list[tuple[float, str]] = []
    while page_at < end:
        moments.append((page_at + AHEAD_AFTER, "ahead"))
        # One or two drafts per task.
        moments += [(page_at + after, "draft") for after in DRAFTS_AFTER[: chance.choice((1, 2))]]
        moments += [(page_at + HEARTBEAT_AFTER, "heartbeat"), (page_at + A_TASK_SECONDS, "click")]
        page_at += A_TASK_SECONDS
    return [(due, what) for due, what in moments if start <= due < end]


async def keep_to(plan: list[tuple[float, str]], labeler: desk.Labeler, heard: Heard) -> None:
    for due, what in plan:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        try:
            if not labeler.holds and not await labeler.claim():
                raise desk.Broken("a labeler without a task")
            match what:
                case "click":
                    await click(labeler, heard, due)
                case "ahead":
                    if await labeler.look_ahead():
                        heard.ahead.append(time.monotonic() - due)
                case "draft":
                    await labeler.save_draft("because the parts that make it up pull at each other")
                    heard.other.append(time.monotonic() - due)
                case "heartbeat":
                    await labeler.renew()
                    heard.other.append(time.monotonic() - due)
        except (desk.Broken, desk.Refused) as wrong:
            heard.errors.append(f"{what}: {wrong}")


def opening(where: Site, asked: argparse.Namespace) -> Figures:
    """Open the largest campaign; the worker makes its tasks while a labeler works in another one."""
    size = asked.sizes[-1]
    pool, labeler = where.pool(size), where.new_labelers("10k", 1)[0]
    campaign = where.campaigns[size] = where.engine.ask("campaign", name=size, pool=pool, overlap=OVERLAP)
    heard = Heard()
    used, idle, peak = asyncio.run(run_opening(where, campaign, SIZES[size], labeler, heard))
    print(f"opening a campaign of {SIZES[size]:,} tasks: {used['seconds']:.0f} s; ", end="")
    print(f"the worker has {peak:.0f} MB at most, {idle:.0f} before; load {load()}")
    print(f"  seconds of processor: worker {used['worker']:.0f}, database {used['database']:.0f}")
    print("  a labeler in another campaign meanwhile:")
    print_heard(heard)
    with timed("vacuum"):
        where.settle()
    return {
        f"open_campaign_{size}_s": round(used["seconds"], 1),
        "open_campaign_peak_mb": round(peak),
        "open_campaign_desk_p99_ms": desk.percentile(heard.next, 99),
    }


async def run_opening(
    where: Site, campaign: int, tasks: int, labeler: desk.Labeler, heard: Heard
) -> tuple[dict[str, float], float, float]:
    """Processor time by part, and the worker's memory in megabytes before and at its peak."""
    worker = where.platform.processes("celery.*worker")
    idle = peak = resident(worker)
    working = asyncio.create_task(hurry(labeler, heard, time.monotonic() + LONGEST_OPENING, pause=0.5))
    began, before = time.monotonic(), Load(where.platform)
    where.engine.ask("open_campaign", campaign=campaign, wake_worker=True)
    counted, made, looks = "SELECT count(*) FROM work_task WHERE campaign_id = %s", 0, 0
    while made < tasks:
        if time.monotonic() - began > LONGEST_OPENING:
            sys.exit("The worker does not fill the campaign.")
        await asyncio.sleep(0.25)
        peak, looks = max(peak, resident(worker)), looks + 1
        # Counting a million tasks takes a tenth of a second, so it is done every two.
        if looks % 8 == 0:
            made = await asyncio.to_thread(where.platform.value, counted, (campaign,))
    used = before.so_far()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    labeler.browser.close()
    return used, idle, peak


def resident(processes: list[psutil.Process]) -> float:
    """Megabytes."""
    return sum(process.memory_info().rss for process in processes if process.is_running()) / 1e6


def lone(where: Site, size: str, asked: argparse.Namespace) -> Figures:
    """Three labelers with different numbers of answers take turns, without other load."""
    levels = [level for level in LEVELS if level < SIZES[size]]
    labelers = where.new_labelers(size, len(levels))
    campaign, ids = where.campaign(size), [labeler.account.id for labeler in labelers]
    with timed("their earlier answers"):
        for slot, (labeler, level) in enumerate(zip(ids, levels, strict=True), start=1):
            where.engine.ask("answered", campaign=campaign, labeler=labeler, number=level, slot=slot)
        where.settle()
    rounds = 40 if asked.quick else 300
    turns = where.engine.ask("take_turns", campaign=campaign, labelers=ids, rounds=rounds)
    claims = [statistics.median(claim for claim, _ in turn) for turn in turns]
    submits = [statistics.median(submit for _, submit in turn) for turn in turns]
    pages = asyncio.run(run_pages(labelers, rounds // 2))
    print(f"a lone labeler among {SIZES[size]:,} tasks, medians of {rounds}; pages, of {rounds // 2}:")
    for level, claim, submit, (start, page) in zip(levels, claims, submits, pages, strict=True):
        print(
            f"  after {level:,} answers: claim {1000 * claim:.2f} ms, submit {1000 * submit:.2f} ms;"
            f" Start {1000 * start:.1f} ms, with the task's page {1000 * page:.1f} ms"
        )
    figures: Figures = {}
    for level, claim, (_start, page) in list(zip(levels, claims, pages, strict=True))[1:]:
        print(f"  claim after {level:,} to after 1: {claim / claims[0]:.2f}; its page: {page / pages[0][1]:.2f}")
        figures[f"lone_ratio_{level // 1000}k"] = round(claim / claims[0], 2)
        figures[f"lone_page_ratio_{level // 1000}k"] = round(page / pages[0][1], 2)
    return figures


async def run_pages(labelers: list[desk.Labeler], rounds: int) -> list[tuple[float, float]]:
    """Medians by labeler: seconds until the answer to the claim, and until the task's page."""
    timed: list[list[tuple[float, float]]] = [[] for _ in labelers]
    for number in range(rounds):
        for index in sorted(range(len(labelers)), key=lambda index: (index + number) % len(labelers)):
            labeler, before = labelers[index], time.perf_counter()
            await labeler.ask()
            between = time.perf_counter()
            await labeler.follow()
            timed[index].append((between - before, time.perf_counter() - before))
            await labeler.submit(labeler.form(desk.answer_text(), stop=True))
    return [(statistics.median(a for a, _ in turns), statistics.median(b for _, b in turns)) for turns in timed]


def floor(where: Site, asked: argparse.Namespace) -> Figures:
    """In turn, so that whatever else the machine does meets both."""
    program = next((found["pgbench"] for found in installed() if (found.folder / "pgbench").exists()), None)
    if program is None:
        print("floor: no pgbench beside the PostgreSQL programs")
        return {}
    # Bare SQL empties ten thousand tasks in seconds.
    size = "10k" if asked.quick else "100k"
    campaign, ground = (where.new_campaign(name, size) for name in ("engine", "floor"))
    accounts, others = where.new_people(CLIENTS), where.new_people(CLIENTS * OVERLAP)
    rounds, seconds = (1, 3.0) if asked.quick else (ROUNDS, 6.0)
    measured: dict[str, list[tuple[float, float]]] = {"engine": [], "floor": []}
    cursor = -1
    with ExitStack() as stack:
        engines = [stack.enter_context(desk.engine(where.platform)) for _ in range(WEB_PROCESSES)]

        def engine_round() -> float:
            for number, inside in enumerate(engines):
                some = [account.id for account in accounts[number :: len(engines)]]
                inside.tell("work", campaign=campaign, labelers=some, seconds=seconds)
            return sum(inside.answer() for inside in engines) / seconds

        def floor_round() -> float:
            return pgbench(where.platform, program, ground, others[0].id, seconds, cursor)

        # The first round warms both up.
        for _ in range(rounds + 1):
            for name, one_round in (("engine", engine_round), ("floor", floor_round)):
                before = processor_time(where.platform, engines)
                tasks_per_s = one_round()
                spent = processor_time(where.platform, engines) - before
                measured[name].append((tasks_per_s, 1000 * spent / (tasks_per_s * seconds)))
            cursor = where.platform.value(
                "SELECT max(position) FROM work_assignment WHERE campaign_id = %s AND state = 'accepted'", (ground,)
            )
    rate, cost = (
        {name: statistics.median(one[column] for one in found[1:]) for name, found in measured.items()}
        for column in (0, 1)
    )
    print(f"claim and submit, {CLIENTS} clients, {rounds} rounds of {seconds:.0f} s in turn; load {load()}")
    for name, what in (("engine", "the engine without HTTP"), ("floor", "bare SQL by pgbench")):
        print(f"  {what}: {rate[name]:.0f} tasks/s, {cost[name]:.2f} ms of processor a task, the database's included")
    print(f"  engine to floor: {rate['engine'] / rate['floor']:.3f}; by processor {cost['floor'] / cost['engine']:.3f}")
    return {
        "engine_tasks_per_s": round(rate["engine"], 1),
        "floor_tasks_per_s": round(rate["floor"], 1),
        "engine_vs_floor": round(rate["engine"] / rate["floor"], 3),
        "engine_vs_floor_by_cpu": round(cost["floor"] / cost["engine"], 3),
    }


def processor_time(platform: desk.Platform, engines: list[desk.Engine]) -> float:
    """Seconds so far of the database, these engines and the finished child processes."""
    ended = os.times()
    return platform.cpu()["database"] + sum(one.cpu() for one in engines) + ended[2] + ended[3]


def pgbench(platform: desk.Platform, program: str, campaign: int, first: int, seconds: float, cursor: int) -> float:
    url = urlsplit(platform.database_url)
    script = platform.var / "floor.sql"
    script.write_text(FLOOR)
    guideline = platform.value("SELECT max(id) FROM guidelines_guidelineversion")
    values = {"campaign": campaign, "first": first, "version": guideline, "cursor": cursor}
    done = subprocess.run(
        [program, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", f"{seconds:.0f}", "-f", str(script)]
        + [part for name, value in values.items() for part in ("-D", f"{name}={value}")],
        env=os.environ
        | {
            "PGHOST": unquote(url.hostname or ""),
            "PGUSER": url.username or "",
            "PGPASSWORD": url.password or "",
            "PGDATABASE": url.path.lstrip("/"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found:
        sys.exit(f"pgbench failed: {done.stderr}")
    return float(found[1])


def statements(where: Site, size: str) -> Figures:
    seen = where.engine.ask("queries", campaign=where.campaign(size), labeler=where.new_people(1)[0].id)
    print("round trips, savepoints among them, BEGIN and COMMIT not; what goes together has a plus between:")
    for name, sent in seen.items():
        print(f"  {name}: {len(sent)} ({', '.join(map(named, sent))})")
    return {f"queries_{name}": len(sent) for name, sent in seen.items()}


def named(sent: str) -> str:
    """What a round trip does: of what is prepared the comments say so."""
    return " + ".join(re.findall(r"/\* (.*?) \*/", sent)) or in_short(sent)


def plan(where: Site, size: str) -> None:
    campaign, account = where.campaign(size), where.new_people(1)[0]
    where.engine.ask("work", campaign=campaign, labelers=[account.id], seconds=1)
    print(f"the statements of a claim among {SIZES[size]:,} tasks:")
    for written, *lines in where.engine.ask("explain", campaign=campaign, labeler=account.id):
        # Omit the long list of columns.
        columns = re.compile(r'^SELECT ("\w+"\."\w+"(, )?){4,}')
        print(f"\n{columns.sub('SELECT … ', ' '.join(written.split()))}")
        print("\n".join(f"    {line}" for line in lines), flush=True)
    print()


def check(sites: Iterable[Site]) -> Figures:
    """Check the tables by plain SQL."""
    found = [
        desk.stand(where.platform, where.campaigns[size], labelers)
        for where in sites
        for size, labelers in where.labelers.items()
    ]
    acknowledged, kept = (sum(getattr(one, name) for one in found) for name in ("acknowledged", "found"))
    figures = {name: sum(getattr(one, name) for one in found) for name in ("over_assigned", "doubled")}
    print(f"acknowledged answers: {acknowledged}, of them stored {kept};", end=" ")
    print(f"tasks with too many {figures['over_assigned']}, doubled {figures['doubled']}")
    return figures | {"lost": acknowledged - kept}


if __name__ == "__main__":
    main()
