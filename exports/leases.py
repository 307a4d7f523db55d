"""Who writes the files of an export until when. An attempt is known by its folder; whoever lost the lease stops."""

import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.utils.translation import gettext as _

from annotate.pools.quarantine import Case
from exports import queries
from exports.actions import settle, write
from exports.manifest import Manifest
from exports.models import Export, ExportState
from exports.splits import Leak

# Renewed every second while lines are written and read back. Storing one large file is the longest silence.
LEASE = timedelta(minutes=5)
SECONDS_BETWEEN_RENEWALS = 1.0
# Prompts that a failed export lists on its page. The next export lists the next ones.
LEAKS_KEPT = 100

Clock = Callable[[], datetime]


class LeaseLost(Exception):
    """Another worker has taken the export up: this one's files are not wanted."""


def sweep(*, clock: Clock) -> int:
    """Write every export that is waiting, or that a worker left unfinished; return how many there were."""
    left = list(Export.objects.filter(_unfinished(clock())).order_by("id").values_list("id", flat=True))
    return sum(run(export_id=export_id, clock=clock) for export_id in left)


def run(*, export_id: int, clock: Clock) -> bool:
    """Write the files of an export that nobody writes into the storage "exports". Returns whether it was to be done.

    Safe to run twice and at once. A leak between the splits or a full disk ends it as failed, with the reason on the
    row; a worker that dies leaves it to the next sweep.
    """
    export = take(export_id=export_id, now=clock())
    if export is None:
        return False
    storage = storages["exports"]
    try:
        written = _write_into(storage, export, clock)
        finish(export, state=ExportState.DONE, manifest=written, now=clock())
    except LeaseLost:
        _delete(storage, export.folder)
    except Leak as leak:
        _fail(storage, export, str(leak), clock, leaks=[_as_json(case) for case in leak.cases[:LEAKS_KEPT]])
    except OSError as reason:
        _fail(storage, export, str(reason), clock)
    except Exception:
        # A mistake of ours does not go away by trying again every few minutes.
        _fail(storage, export, _("An unexpected error stopped it. The worker's log says which."), clock)
        raise
    else:
        _delete_other_attempts(storage, export)
    return True


def take(*, export_id: int, now: datetime) -> Export | None:
    """The export, now ours; None if it is finished or another worker's. Of two that try at once, one gets it."""
    folder = f"{export_id}/{secrets.token_hex(8)}"
    taken = Export.objects.filter(_unfinished(now), id=export_id).update(
        state=ExportState.RUNNING, leased_until=now + LEASE, folder=folder, rows_done=0, rows_total=None
    )
    return Export.objects.get(id=export_id, folder=folder) if taken else None


def finish(export: Export, *, state: ExportState, now: datetime, **columns: Any) -> None:
    """Raises LeaseLost if another worker has the export now."""
    ours = Export.objects.filter(id=export.id, state=ExportState.RUNNING, folder=export.folder)
    if not ours.update(state=state, leased_until=None, finished_at=now, **columns):
        raise LeaseLost


class Renewal:
    """Moves the lease's end on, with how far the work is. Calling it does so once a second at most.

    It has a connection of its own: the rows are read in one transaction, out of which nobody would see it.
    """

    def __init__(self, connection: BaseDatabaseWrapper, export: Export, total: int, clock: Clock) -> None:
        self.connection, self.export, self.total, self.clock = connection, export, total, clock
        self.done = 0
        self.at = 0.0

    def __call__(self, done: int) -> None:
        self.done = done
        if time.monotonic() - self.at > SECONDS_BETWEEN_RENEWALS:
            self.now()

    def now(self) -> None:
        """Raises LeaseLost if another worker has the export now."""
        self.at = time.monotonic()
        with self.connection.cursor() as cursor:
            cursor.execute(
                "UPDATE exports_export SET leased_until = %s, rows_done = %s, rows_total = %s"
                " WHERE id = %s AND state = %s AND folder = %s",
                [self.clock() + LEASE, self.done, self.total, self.export.id, ExportState.RUNNING, self.export.folder],
            )
            if cursor.rowcount != 1:
                raise LeaseLost


def _unfinished(now: datetime) -> Q:
    """Exports nobody writes: not begun, or left by a worker that fell silent."""
    return Q(state=ExportState.WAITING) | Q(state=ExportState.RUNNING, leased_until__lt=now)


def _write_into(storage: Storage, export: Export, clock: Clock) -> Manifest:
    campaigns, now = list(export.campaigns.order_by("id")), clock()
    # `write` does so too; here for what is counted to be what it writes.
    settle(campaigns=campaigns, now=now)
    with closing(connection.copy()) as second, tempfile.TemporaryDirectory() as temporary:
        renewal = Renewal(second, export, queries.answers_and_prompts(campaigns), clock)
        out = Path(temporary) / "export"
        written = write(campaigns=campaigns, out=out, now=now, on_progress=renewal)
        for path in sorted(out.iterdir()):
            renewal.now()
            with path.open("rb") as file:
                storage.save(f"{export.folder}/{path.name}", File(file))
        renewal.now()
    return written


def _as_json(case: Case) -> dict[str, Any]:
    return {"prompt": case.prompt_id, "twin": case.twin_id, "reason": case.reason.value}


def _fail(storage: Storage, export: Export, error: str, clock: Clock, **columns: Any) -> None:
    _delete(storage, export.folder)
    try:
        finish(export, state=ExportState.FAILED, error=error, now=clock(), **columns)
    except LeaseLost:
        pass


def _delete(storage: Storage, folder: str) -> None:
    if storage.exists(folder):
        for name in storage.listdir(folder)[1]:
            storage.delete(f"{folder}/{name}")
        storage.delete(folder)


def _delete_other_attempts(storage: Storage, export: Export) -> None:
    """What workers that died have left."""
    parent, own = export.folder.split("/")
    for name in storage.listdir(parent)[0]:
        if name != own:
            _delete(storage, f"{parent}/{name}")
