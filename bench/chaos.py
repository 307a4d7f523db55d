"""Test that the queue survives crashes: 64 people work while kill -9 hits each part in turn.

    python bench/chaos.py [--quick] [--clients 64] [--tasks 300] [--kills 24] [--seconds 600]

First they finish a campaign undisturbed. Then they work in another one while this program kills gunicorn's workers and
master, PostgreSQL's connections, server and keeper, the worker, beat and the broker (Redis, if installed). Only the
supervisor of bin/start restarts them. A labeler without an answer sends the same form and submit key again, as a
browser does. At the end some labelers disappear, and the sweep must free their leases. Prints one JSON line:

    acknowledged    submits that the platform confirmed              found           of these, the number stored as sent
    doubled         texts or labelers twice on a task                over_assigned   tasks with too many answers
    stuck           slots leased after lease and sweep               not_back        parts that did not return
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import argparse  # noqa: E402
import asyncio  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import asdict, dataclass, field  # noqa: E402

import psutil  # noqa: E402
import psycopg2  # noqa: E402

from bench import desk  # noqa: E402

OVERLAP = 3
# The interval of beat's sweep, with a reserve for a busy machine.
SWEEP_SECONDS = 30
SLACK_SECONDS = 30
SECONDS_TO_RETURN = 120
# Submits between two kills, so that each kill meets a working platform.
BETWEEN = 40
ENDLESS = 10_000


@dataclass(frozen=True)
class Part:
    """A part to kill: its processes, and their number when it is complete."""

    name: str
    processes: Callable[[], list[psutil.Process]]
    whole: int = 1
    # Otherwise a random one.
    all_at_once: bool = True


@dataclass
class Outcome:
    acknowledged: int
    found: int
    doubled: int
    over_assigned: int
    stuck: int = 0
    kills: int = 0
    repeated: int = 0
    not_back: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        counts = (self.doubled, self.over_assigned, self.stuck, len(self.not_back))
        return self.found == self.acknowledged > 0 and not any(counts)


@dataclass
class Day:
    """What the people at work share."""

    over: bool = False
    clicks: int = 0
    # Forms sent again, and claims without an answer.
    repeated: int = 0


async def work(labeler: desk.Labeler, day: Day, chance: random.Random) -> None:
    """Work until the day is over or nothing is left. Without an answer, wait and send the same form again."""
    form: desk.Form | None = None
    while not day.over:
        try:
            if not labeler.holds and not await labeler.claim():
                # Busy, or nothing left: somebody may still put a slot back.
                await asyncio.sleep(chance.uniform(0.2, 0.5))
                continue
            form = form or labeler.form(desk.answer_text())
            more = await labeler.submit(form)
            form = None
            day.clicks += 1
            if more:
                await labeler.follow()
        except desk.Refused:
            form = None
        except desk.Broken:
            day.repeated += 1
            await asyncio.sleep(chance.uniform(0.1, 0.6))
    await finish(labeler, form, chance)


async def finish(labeler: desk.Labeler, form: desk.Form | None, chance: random.Random) -> None:
    """Submit leased tasks and take no more. Asks once more, for a task whose answer was lost."""
    deadline = time.monotonic() + SECONDS_TO_RETURN
    while time.monotonic() < deadline:
        try:
            if not labeler.holds and not await labeler.claim():
                return
            form = form or labeler.form(desk.answer_text())
            await labeler.submit(desk.Form(form.path, form.fields | {"then": "stop"}))
            return
        except desk.Refused:
            form = None
        except desk.Broken:
            await asyncio.sleep(chance.uniform(0.1, 0.6))


async def drain(platform: desk.Platform, campaign: int, labelers: list[desk.Labeler], seconds: float) -> Outcome:
    """Everybody works until no slot of the campaign is left."""
    day, crowd = Day(), random.Random(1)
    working = [asyncio.create_task(work(labeler, day, crowd)) for labeler in labelers]
    deadline = time.monotonic() + seconds
    while await asyncio.to_thread(slots, platform, campaign, "open", "leased") and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    day.over = True
    await asyncio.gather(*working)
    outcome = outcome_of(platform, campaign, labelers, day)
    outcome.stuck = slots(platform, campaign, "open", "leased")
    return outcome


async def kill_in_turn(
    platform: desk.Platform,
    campaign: int,
    labelers: list[desk.Labeler],
    parts: list[Part],
    *,
    kills: int,
    seconds: float,
    between: int = BETWEEN,
    walk_out: int = 0,
    lease_seconds: float = 0,
) -> Outcome:
    """Everybody works while `parts` are killed in turn. At the end, `walk_out` labelers disappear."""
    day, chance, deadline = Day(), random.Random(2), time.monotonic() + seconds
    working = [asyncio.create_task(work(labeler, day, chance)) for labeler in labelers]
    done, not_back = 0, []
    while done < kills and time.monotonic() < deadline:
        await clicked(day, between)
        part = parts[done % len(parts)]
        began = time.monotonic()
        victims = await asyncio.to_thread(kill, part, chance)
        done += 1
        back = await returned(part, victims) and await clicked(day, 1)
        print(
            f"  {part.name}: {'back after' if back else 'NOT BACK after'} {time.monotonic() - began:.1f} s", flush=True
        )
        if not back:
            not_back.append(part.name)
            break
    for leaving in working[:walk_out]:
        leaving.cancel()
    day.over = True
    await asyncio.gather(*working, return_exceptions=True)
    outcome = outcome_of(platform, campaign, labelers, day)
    outcome.kills, outcome.not_back = done, not_back
    patience = lease_seconds + SWEEP_SECONDS + SLACK_SECONDS if walk_out else 0
    await asyncio.to_thread(desk.eventually, lambda: not slots(platform, campaign, "leased"), seconds=patience, pause=2)
    outcome.stuck = slots(platform, campaign, "leased")
    return outcome


def outcome_of(platform: desk.Platform, campaign: int, labelers: list[desk.Labeler], day: Day) -> Outcome:
    return Outcome(**asdict(desk.stand(platform, campaign, labelers)), repeated=day.repeated)


async def clicked(day: Day, times: int) -> bool:
    """Wait for this many more acknowledged submits."""
    wanted, deadline = day.clicks + times, time.monotonic() + SECONDS_TO_RETURN
    while day.clicks < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return day.clicks >= wanted


def kill(part: Part, chance: random.Random) -> list[psutil.Process]:
    found = part.processes()
    victims = found if part.all_at_once else chance.sample(found, k=min(1, len(found)))
    for victim in victims:
        desk.kill(victim)
    return victims


async def returned(part: Part, victims: list[psutil.Process]) -> bool:
    """Whether the part is complete again, without the killed processes."""
    gone = {victim.pid for victim in victims}

    def whole() -> bool:
        return len([process for process in part.processes() if process.pid not in gone]) >= part.whole

    return bool(await asyncio.to_thread(desk.eventually, whole, seconds=SECONDS_TO_RETURN, pause=0.25))


def slots(platform: desk.Platform, campaign: int, *states: str) -> int:
    """The number of slots in these states. Waits for the database to return."""
    counted = desk.eventually(lambda: _slots(platform, campaign, states), seconds=SECONDS_TO_RETURN)
    return int(counted[0][0])


def _slots(platform: desk.Platform, campaign: int, states: tuple[str, ...]) -> list[tuple[int]] | None:
    try:
        return platform.rows(
            "SELECT count(*) FROM work_assignment WHERE campaign_id = %s AND state = ANY(%s)", (campaign, list(states))
        )
    except psycopg2.OperationalError:
        return None


def parts_of(platform: desk.Platform) -> list[Part]:
    """The processes that bin/start has started."""

    def web_workers() -> list[psutil.Process]:
        web = platform.processes("gunicorn")
        pids = {process.pid for process in web}
        return [process for process in web if process.ppid() in pids]

    def connections() -> list[psutil.Process]:
        return [process for process in platform.database_processes()[1:] if "[local]" in command_line(process)]

    return [
        Part("a web worker", web_workers, whole=2, all_at_once=False),
        Part("the database server", lambda: platform.database_processes()[:1]),
        Part("the web server", lambda: platform.processes("gunicorn"), whole=3),
        Part("the worker", lambda: platform.processes("celery.*worker")),
        Part("a database connection", connections, all_at_once=False),
        Part("beat", lambda: platform.processes("celery.*beat")),
        Part("the database's keeper", lambda: platform.processes("annotate.launch.embedded_postgres")),
    ]


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Redis:
    """A broker that this program restarts itself, because bin/start does not run it."""

    def __init__(self, program: str, folder: str) -> None:
        self.port = desk.free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self._log = Path(folder) / "log"
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def processes(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            self.start()
        return [psutil.Process(self._process.pid)]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def broker() -> Iterator[Redis | None]:
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        redis = Redis(program, folder)
        try:
            yield redis
        finally:
            redis.stop()


def main() -> None:
    asked = arguments()
    with broker() as redis:
        chosen = {"CELERY_BROKER_URL": redis.url} if redis else {}
        with desk.platform(**chosen) as platform:
            print(f"{asked.clients} clients, {'Redis' if redis else 'the folder'} as the broker", flush=True)
            parts = parts_of(platform) + ([Part("the broker", redis.processes)] if redis else [])
            calm, killed = run(platform, parts, asked)
    print(json.dumps({"calm": asdict(calm), **asdict(killed)}))
    if not (calm.sound and killed.sound):
        sys.exit("The queue does not hold.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tasks", type=int, default=300, help="of the campaign that is worked through undisturbed")
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=600, help="at most, for each of the two campaigns")
    parser.add_argument("--quick", action="store_true", help="few tasks, one kill of each part, nobody walks out")
    asked = parser.parse_args()
    if asked.quick:
        asked.tasks, asked.kills = min(asked.tasks, 60), min(asked.kills, 8)
    return asked


def run(platform: desk.Platform, parts: list[Part], asked: argparse.Namespace) -> tuple[Outcome, Outcome]:
    lease_minutes = 30 if asked.quick else 1
    calm_one, rough_one, people = prepare(platform, asked.clients, asked.tasks, lease_minutes)
    print("undisturbed:", flush=True)
    labelers = [desk.Labeler(platform.port, person, calm_one) for person in people]
    calm = asyncio.run(drain(platform, calm_one, labelers, asked.seconds))
    print(f"  {calm}")
    print("with kills:", flush=True)
    labelers = [desk.Labeler(platform.port, person, rough_one) for person in people]
    rough = asyncio.run(
        kill_in_turn(
            platform,
            rough_one,
            labelers,
            parts,
            kills=asked.kills,
            seconds=asked.seconds,
            walk_out=0 if asked.quick else len(labelers) // 8,
            lease_seconds=60 * lease_minutes,
        )
    )
    print(f"  {rough}")
    return calm, rough


def prepare(
    platform: desk.Platform, clients: int, tasks: int, lease_minutes: int, endless: int = ENDLESS
) -> tuple[int, int, list[desk.Account]]:
    """A campaign to finish, one that is too large to finish, and the people."""
    with desk.engine(platform) as inside:
        people = desk.make_people(inside, clients)
        campaigns = []
        for name, size in (("calm", tasks), ("rough", endless)):
            pool = inside.ask("pool", name=name, prompts=size)
            made = inside.ask("campaign", name=name, pool=pool, overlap=OVERLAP, lease_minutes=lease_minutes)
            inside.ask("fill", campaign=made)
            inside.ask("open_campaign", campaign=made, wake_worker=False)
            campaigns.append(made)
    return campaigns[0], campaigns[1], people


if __name__ == "__main__":
    main()
