"""A file's way into a pool: one worker at a time, batch by batch, each batch one transaction with its report.

Whatever moment a worker dies at, a batch and `lines_done` are both stored or both not, so the next worker goes on with
exactly the next line. What the lines mean is the business of the `Take` that the caller brings.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import IO, Any, Final, Protocol

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate.accounts.models import User
from annotate.pools.importers import files, lines
from annotate.pools.importers.fields import shown
from annotate.pools.importers.lines import Line
from annotate.pools.importers.losses import Losses, TooManyFields, Unused
from annotate.pools.models import ImportJob, ImportKind, ImportLine, ImportState, Pool, Prompt
from annotate.pools.rules import BadPrompt, PromptDraft, prepare

# The completions' importer stands in a room above: it is reached by its name.
TASKS: Final = {ImportKind.PROMPTS: "pools.run_import", ImportKind.COMPLETIONS: "samples.run_completion_import"}
# A batch takes a second or so, and each renews the lease.
LEASE: Final = timedelta(minutes=2)
BATCH_LINES: Final = 200
BATCH_CHARACTERS: Final = 2_000_000
# Enough to see what a file calls its fields; where names are data, there is no end of them.
MOST_IGNORED: Final = 50


@dataclass(frozen=True)
class Outcome:
    """What became of a line: taken, unless there is a refusal. `prompt` is the one it made or concerns."""

    line: Line
    prompt: Prompt | None = None
    refusal: str = ""
    # Fields that the import does not use.
    ignored: Collection[str] = ()
    # A customer's prompt, and nobody said whose: nothing keeps it on one side of the split with their others.
    nobodys: bool = False
    # Taken, but in quarantine: an equal text is on the other side of the split.
    quarantined: bool = False


class Take(Protocol):
    """Stores what a batch of readable lines says and returns an outcome for each of them, inside a transaction."""

    def __call__(self, job: ImportJob, batch: Sequence[Line], now: datetime) -> Sequence[Outcome]: ...


class _LeaseLost(Exception):
    """Another worker took the job over, because this one was away for longer than its lease."""


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
    """A job that waits for a worker; `ignore` are fields to leave out whatever they say. Raises BadFile."""
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
    """What nobody works on: never begun, or left by a worker that died."""
    return ImportJob.objects.filter(Q(state=ImportState.WAITING) | Q(state=ImportState.RUNNING, leased_until__lt=now))


def claim(*, job_id: int, now: datetime) -> ImportJob | None:
    """Take the job, unless it has ended or somebody else is at it."""
    with transaction.atomic():
        job = due(now).select_for_update(skip_locked=True, no_key=True).filter(id=job_id).first()
        if job:
            job.state, job.leased_until = ImportState.RUNNING, now + LEASE
            job.save(update_fields=["state", "leased_until"])
    return job


def check(*, job_id: int, unused: Unused, clock: Callable[[], datetime]) -> bool:
    """Look through the file for fields that hold text and would be dropped. Returns whether the import can begin.

    If there are any, the job waits for a manager's decision. Nothing is taken here, so a check that was interrupted is
    simply begun again.
    """
    job = ImportJob.objects.filter(id=job_id).first()
    if job is None or job.checked:
        return job is not None
    job = claim(job_id=job_id, now=clock())
    if job is None:
        return False
    found = Losses(job, unused)
    try:
        for batch in _batches(lines.read(job.file_name, files.chunks(job))):
            found.look(batch)
            _renew(job, clock())
        return _checked(job, found)
    except _LeaseLost:
        return False
    except TooManyFields as refusal:
        _end(job, clock(), ImportState.FAILED, str(refusal))
        return False
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        error = _("An error in the program stopped the import; the log has the details.")
        _end(job, clock(), ImportState.FAILED, error)
        raise


def _renew(job: ImportJob, now: datetime) -> None:
    with transaction.atomic():
        _check_lease(job)
        job.leased_until = now + LEASE
        job.save(update_fields=["leased_until"])


def _checked(job: ImportJob, found: Losses) -> bool:
    losses = found.found()
    with transaction.atomic():
        _check_lease(job)
        job.state = ImportState.ASKING if losses else ImportState.WAITING
        job.checked, job.losses, job.leased_until = True, [loss.as_json() for loss in losses], None
        job.save(update_fields=["state", "checked", "losses", "leased_until"])
    return not losses


def run(*, job_id: int, take: Take, clock: Callable[[], datetime]) -> None:
    """Import what is left of a job. Running it twice, or by two workers at once, does nothing twice."""
    job = claim(job_id=job_id, now=clock())
    if job:
        deque(go_on(job, take=take, clock=clock), maxlen=0)


def go_on(job: ImportJob, *, take: Take, clock: Callable[[], datetime]) -> Iterator[None]:
    """Import what is left of a claimed job, pausing after every batch; `job` then says how far it is."""
    try:
        for batch in _batches(_unread(job)):
            _take_batch(job, batch, take, clock())
            yield
        _end(job, clock(), ImportState.DONE)
    except _LeaseLost:
        # Whoever has it now goes on.
        return
    except (OperationalError, InterfaceError):
        # The database is away, so nothing can be noted: the lease ends by itself, and the sweep finds the job.
        raise
    except Exception:
        error = _("An error in the program stopped the import after line %(number)d; the log has the details.")
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
        _check_lease(job)
        outcomes = [Outcome(line, refusal=line.problem) for line in batch if line.problem]
        outcomes += take(job, [line for line in batch if not line.problem], now)
        ImportLine.objects.bulk_create(
            ImportLine(job=job, number=outcome.line.number, prompt=outcome.prompt, refusal=outcome.refusal)
            for outcome in outcomes
        )
        refused = sum(bool(outcome.refusal) for outcome in outcomes)
        ImportJob.objects.filter(id=job.id).update(
            leased_until=now + LEASE,
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
    return sorted({*job.ignored_fields, *names})[:MOST_IGNORED]


def _check_lease(job: ImportJob) -> None:
    """Lock the job and see that it is still as this worker left it."""
    mine = ImportJob.objects.filter(
        id=job.id, state=ImportState.RUNNING, leased_until=job.leased_until, lines_done=job.lines_done
    )
    if not mine.select_for_update(no_key=True).exists():
        raise _LeaseLost


def _end(job: ImportJob, now: datetime, state: ImportState, error: str = "") -> None:
    with transaction.atomic():
        _check_lease(job)
        job.state, job.error, job.leased_until, job.finished_at = state, error, None, now
        if state == ImportState.DONE:
            job.lines_done = job.lines_total
        job.save(update_fields=["state", "error", "leased_until", "finished_at", "lines_done"])
        job.chunks.all().delete()
