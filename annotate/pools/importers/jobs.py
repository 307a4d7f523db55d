"""Import jobs: a worker reads a file batch by batch into a pool.

Each batch is one transaction that also stores `lines_done`. When a worker dies, the next one continues with the next
line.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import IO, Any, Final, Protocol

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotate.accounts.models import User
from annotate.lib.jobs import Jobs, LeaseLost
from annotate.pools.importers import files, lines
from annotate.pools.importers.fields import shown
from annotate.pools.importers.lines import Line
from annotate.pools.importers.losses import Losses, TooManyFields, Unused
from annotate.pools.models import ImportJob, ImportKind, ImportLine, ImportState, Pool, Prompt
from annotate.pools.rules import BadPrompt, PromptDraft, prepare

# This package may not import that of completions.
TASKS: Final = {ImportKind.PROMPTS: "pools.run_import", ImportKind.COMPLETIONS: "samples.run_completion_import"}
# A batch takes about a second and renews the lease.
LEASE: Final = timedelta(minutes=2)
BATCH_LINES: Final = 200
BATCH_CHARACTERS: Final = 2_000_000
# In some files the field names are data, without a limit.
MAX_IGNORED_FIELDS: Final = 50
JOBS: Final = Jobs(
    model=ImportJob,
    waiting=ImportState.WAITING,
    running=ImportState.RUNNING,
    done=ImportState.DONE,
    failed=ImportState.FAILED,
    claim_columns=("leased_until", "lines_done"),
)


@dataclass(frozen=True)
class Outcome:
    """A line without a refusal is imported. `prompt`: the new one, or the one that it concerns."""

    line: Line
    prompt: Prompt | None = None
    refusal: str = ""
    ignored: Collection[str] = ()
    # Nothing keeps an unnamed customer's prompts on one side of the split.
    nobodys: bool = False
    quarantined: bool = False


class Take(Protocol):
    """Stores a batch in the caller's transaction."""

    def __call__(self, job: ImportJob, batch: Sequence[Line], now: datetime) -> Sequence[Outcome]: ...


def store(
    *,
    pool: Pool,
    kind: str,
    file_name: str,
    data: bytes | IO[bytes],
    defaults: Mapping[str, str],
    by: User | None,
    now: datetime,
    ignore: Iterable[str] = (),
) -> ImportJob:
    """Store a job that waits for a worker. `ignore`: fields to leave out. Raises BadFile."""
    defaults = {name: value for name, value in defaults.items() if value}
    if kind == ImportKind.PROMPTS:
        _check_defaults(defaults)
    with transaction.atomic():
        job = ImportJob.objects.create(
            pool=pool,
            kind=kind,
            file_name=file_name[-255:],
            defaults=defaults,
            ignore=sorted(set(ignore)),
            created_by=by,
            created_at=now,
        )
        job.lines_total = files.keep(job, BytesIO(data) if isinstance(data, bytes) else data)
        job.save(update_fields=["lines_total"])
        if next(lines.read(job.file_name, files.chunks(job)), None) is None:
            raise files.BadFile(_("There is no line to import in this file."))
    return job


def _check_defaults(defaults: Mapping[str, str]) -> None:
    columns: Mapping[str, Any] = defaults
    try:
        prepare(replace(PromptDraft(messages=[{"role": "user", "content": "?"}]), **columns))
    except BadPrompt as bad:
        raise files.BadFile(str(bad)) from bad


def due(now: datetime) -> QuerySet[ImportJob]:
    return JOBS.free(now=now)


def claim(*, job_id: int, now: datetime) -> ImportJob | None:
    """Claim the job. Returns None if it has ended or another worker has it."""
    return JOBS.claim(rows=due(now).filter(id=job_id), until=now + LEASE)


def check(*, job_id: int, unused: Unused, clock: Callable[[], datetime]) -> bool:
    """Search for fields with text that would be dropped. Returns whether the import can begin.

    Otherwise the job waits for a manager's decision. Imports nothing, so another worker can start again.
    """
    job = ImportJob.objects.filter(id=job_id).first()
    if job is None or job.checked:
        return job is not None
    job = claim(job_id=job_id, now=clock())
    if job is None:
        return False
    losses = Losses(job, unused)
    try:
        for batch in _batches(lines.read(job.file_name, files.chunks(job))):
            losses.look(batch)
            _renew(job, clock())
        return _checked(job, losses)
    except LeaseLost:
        return False
    except TooManyFields as refusal:
        _end(job, clock(), ImportState.FAILED, str(refusal))
        return False
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        error = _("An error in the program stopped the import. The log has the details.")
        _end(job, clock(), ImportState.FAILED, error)
        raise


def _renew(job: ImportJob, now: datetime) -> None:
    until = now + LEASE
    if not JOBS.renew(rows=JOBS.held(job=job), until=until):
        raise LeaseLost
    job.leased_until = until


def _checked(job: ImportJob, losses: Losses) -> bool:
    found = [loss.as_json() for loss in losses.found()]
    state = ImportState.ASKING if found else ImportState.WAITING
    if not JOBS.end(rows=JOBS.held(job=job), state=state, checked=True, losses=found):
        raise LeaseLost
    return not found


def run(*, job_id: int, take: Take, clock: Callable[[], datetime]) -> None:
    """Import the rest of a job. Idempotent and safe to run concurrently."""
    job = claim(job_id=job_id, now=clock())
    if job:
        deque(import_batches(job, take=take, clock=clock), maxlen=0)


def import_batches(job: ImportJob, *, take: Take, clock: Callable[[], datetime]) -> Iterator[None]:
    """Import the rest of a claimed job. Pauses after each batch, when `job` has the current counts."""
    try:
        for batch in _batches(_unread(job)):
            _take_batch(job, batch, take, clock())
            yield
        _end(job, clock(), ImportState.DONE)
    except LeaseLost:
        return
    except (OperationalError, InterfaceError):
        # The job cannot be changed now. Its lease expires, and the sweep finds it.
        raise
    except Exception:
        error = _("An error in the program stopped the import after line %(number)d. The log has the details.")
        _end(job, clock(), ImportState.FAILED, error % {"number": job.lines_done})
        raise


def _unread(job: ImportJob) -> Iterator[Line]:
    for line in lines.read(job.file_name, files.chunks(job)):
        if line.number > job.lines_done:
            yield line


def _batches(unread: Iterable[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in unread:
        batch.append(line)
        size += line.size
        if len(batch) == BATCH_LINES or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _take_batch(job: ImportJob, batch: Sequence[Line], take: Take, now: datetime) -> None:
    with transaction.atomic():
        JOBS.lock(job=job)
        outcomes = [Outcome(line, refusal=line.problem) for line in batch if line.problem]
        outcomes += take(job, [line for line in batch if not line.problem], now)
        ImportLine.objects.bulk_create(
            ImportLine(job=job, number=outcome.line.number, prompt=outcome.prompt, refusal=outcome.refusal)
            for outcome in outcomes
        )
        refused = sum(bool(outcome.refusal) for outcome in outcomes)
        JOBS.renew(
            rows=JOBS.held(job=job),
            until=now + LEASE,
            lines_done=batch[-1].last,
            taken=job.taken + len(outcomes) - refused,
            refused=job.refused + refused,
            nobodys=job.nobodys + sum(outcome.nobodys for outcome in outcomes),
            quarantined=job.quarantined + sum(outcome.quarantined for outcome in outcomes),
            ignored_fields=_ignored(job, outcomes),
        )
    job.refresh_from_db()


def _ignored(job: ImportJob, outcomes: Iterable[Outcome]) -> list[str]:
    names = {shown(name) for each in outcomes for name in each.ignored}
    return sorted({*job.ignored_fields, *names})[:MAX_IGNORED_FIELDS]


def _end(job: ImportJob, now: datetime, state: ImportState, error: str = "") -> None:
    columns: dict[str, Any] = {"error": error, "finished_at": now}
    if state == ImportState.DONE:
        columns["lines_done"] = job.lines_total
    with transaction.atomic():
        if not JOBS.end(rows=JOBS.held(job=job), state=state, **columns):
            raise LeaseLost
        job.chunks.all().delete()
    job.refresh_from_db()
