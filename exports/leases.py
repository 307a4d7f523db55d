"""The folder of an attempt identifies its lease."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import connection, connections
from django.utils.translation import gettext as _

from annotate.lib.jobs import Jobs, LeaseLost
from annotate.pools.quarantine import Case
from exports import queries
from exports.actions import settle, write
from exports.manifest import Manifest
from exports.models import Export, ExportState
from exports.splits import Leak

# Storing one large file is the longest time without a renewal.
LEASE = timedelta(minutes=5)
SECONDS_BETWEEN_RENEWALS = 1.0
# Prompts on the page of a failed export.
LEAKS_KEPT = 100
RENEWING: Final = "renewing"
JOBS: Final = Jobs(
    model=Export,
    waiting=ExportState.WAITING,
    running=ExportState.RUNNING,
    done=ExportState.DONE,
    failed=ExportState.FAILED,
    claim_columns=("folder",),
)

Clock = Callable[[], datetime]


def sweep(*, clock: Clock) -> int:
    """Write the exports that wait or that a dead worker left. Returns how many."""
    left = list(JOBS.free(now=clock()).order_by("id").values_list("id", flat=True))
    return sum(run(export_id=export_id, clock=clock) for export_id in left)


def run(*, export_id: int, clock: Clock) -> bool:
    """Returns False if the export is finished or another worker's. Idempotent and safe to run concurrently."""
    export = take(export_id=export_id, now=clock())
    if export is None:
        return False
    storage = storages["exports"]
    try:
        written = _write_into(storage, export, clock)
        _end(export, state=ExportState.DONE, manifest=written, finished_at=clock())
    except LeaseLost:
        _delete(storage, export.folder)
    except Leak as leak:
        _fail(storage, export, str(leak), clock, leaks=[_as_json(case) for case in leak.cases[:LEAKS_KEPT]])
    except OSError as reason:
        _fail(storage, export, str(reason), clock)
    except Exception:
        _fail(storage, export, _("The export stopped with an unexpected error. Ask your operator for the log."), clock)
        raise
    else:
        _delete_other_attempts(storage, export)
    return True


def take(*, export_id: int, now: datetime) -> Export | None:
    """None if it is finished or another worker's."""
    folder = f"{export_id}/{secrets.token_hex(8)}"
    rows = JOBS.free(now=now).filter(id=export_id)
    return JOBS.claim(rows=rows, until=now + LEASE, folder=folder, rows_done=0, rows_total=None)


@contextmanager
def second_connection() -> Iterator[str]:
    """Its changes are visible before this thread's transaction ends."""
    connections[RENEWING] = second = connection.copy(alias=RENEWING)
    try:
        yield RENEWING
    finally:
        second.close()
        del connections[RENEWING]


class Renewal:
    """Renews the lease and stores the progress, at most once a second, on a second connection."""

    def __init__(self, using: str, export: Export, total: int, clock: Clock) -> None:
        self.using, self.export, self.total, self.clock = using, export, total, clock
        self.done = 0
        self.at = 0.0

    def __call__(self, done: int) -> None:
        self.done = done
        if time.monotonic() - self.at > SECONDS_BETWEEN_RENEWALS:
            self.now()

    def now(self) -> None:
        """Raises LeaseLost if another worker has the export."""
        self.at = time.monotonic()
        rows = JOBS.held(job=self.export).using(self.using)
        if not JOBS.renew(rows=rows, until=self.clock() + LEASE, rows_done=self.done, rows_total=self.total):
            raise LeaseLost


def _write_into(storage: Storage, export: Export, clock: Clock) -> Manifest:
    campaigns, now = list(export.campaigns.order_by("id")), clock()
    # `write` settles too; the total is counted here.
    settle(campaigns=campaigns, now=now)
    with second_connection() as second, tempfile.TemporaryDirectory() as temporary:
        renewal = Renewal(second, export, queries.answers_and_prompts(campaigns), clock)
        out = Path(temporary) / "export"
        written = write(campaigns=campaigns, out=out, now=now, on_progress=renewal)
        for path in sorted(out.iterdir()):
            renewal.now()
            with path.open("rb") as file:
                storage.save(f"{export.folder}/{path.name}", File(file))
        renewal.now()
    return written


def _end(export: Export, *, state: ExportState, **columns: object) -> None:
    """Raises LeaseLost if another worker has the export."""
    if not JOBS.end(rows=JOBS.held(job=export), state=state, **columns):
        raise LeaseLost


def _as_json(case: Case) -> dict[str, object]:
    return {"prompt": case.prompt_id, "twin": case.twin_id, "reason": case.reason.value}


def _fail(storage: Storage, export: Export, error: str, clock: Clock, **columns: object) -> None:
    _delete(storage, export.folder)
    try:
        _end(export, state=ExportState.FAILED, error=error, finished_at=clock(), **columns)
    except LeaseLost:
        pass


def _delete(storage: Storage, folder: str) -> None:
    if storage.exists(folder):
        for name in storage.listdir(folder)[1]:
            storage.delete(f"{folder}/{name}")
        storage.delete(folder)


def _delete_other_attempts(storage: Storage, export: Export) -> None:
    parent, own = export.folder.split("/")
    for name in storage.listdir(parent)[0]:
        if name != own:
            _delete(storage, f"{parent}/{name}")
