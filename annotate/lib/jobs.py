"""Leased jobs: rows that a worker claims, renews while it works, and finishes.

After `leased_until` another worker may claim the row. Every change repeats the claim as a condition, so a worker that
lost its lease changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.db import transaction
from django.db.models import F, Model, Q, QuerySet

Job = TypeVar("Job", bound=Model)


class LeaseLost(Exception):
    """The worker must store nothing more for this job."""


@dataclass(frozen=True, kw_only=True)
class Jobs(Generic[Job]):
    """Methods that change rows also set `columns`. They return the number of rows: 0 if the claim was lost."""

    model: type[Job]
    waiting: str
    running: str
    done: str
    failed: str
    # They differ between any two claims.
    claim_columns: Sequence[str]
    # None: the table has no column `attempts`.
    max_attempts: int | None = None

    def free(self, *, now: datetime) -> QuerySet[Job]:
        return self._all().filter(Q(state=self.waiting) | self._expired(now))

    def expired(self, *, now: datetime) -> QuerySet[Job]:
        return self._all().filter(self._expired(now))

    def held(self, *, job: Job) -> QuerySet[Job]:
        claim = {name: getattr(job, name) for name in self.claim_columns}
        return self._all().filter(pk=job.pk, state=self.running, **claim)

    def lock(self, *, job: Job) -> None:
        """Keep other workers away until the transaction ends. Raises LeaseLost."""
        if not self.held(job=job).select_for_update(no_key=True).exists():
            raise LeaseLost

    def in_order(self, *, rows: QuerySet[Job]) -> QuerySet[Job]:
        """Lock in the order of ids, which avoids deadlocks."""
        locked = rows.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True)
        return self._all().filter(pk__in=list(locked))

    def claim(self, *, rows: QuerySet[Job], until: datetime, **columns: object) -> Job | None:
        with transaction.atomic():
            job = rows.select_for_update(skip_locked=True, no_key=True, of=("self",)).first()
            if job is None:
                return None
            columns |= {"state": self.running, "leased_until": until}
            if self.max_attempts is not None:
                columns["attempts"] = job.attempts + 1  # type: ignore[attr-defined]
            for name, value in columns.items():
                setattr(job, name, value)
            job.save(update_fields=columns)
        return job

    def claim_all(self, *, rows: QuerySet[Job], until: datetime, **columns: object) -> int:
        """Claim rows that the caller has locked, if they still wait."""
        if self.max_attempts is not None:
            columns["attempts"] = F("attempts") + 1
        return rows.filter(state=self.waiting).update(state=self.running, leased_until=until, **columns)

    def renew(self, *, rows: QuerySet[Job], until: datetime, **columns: object) -> int:
        return rows.update(leased_until=until, **columns)

    def finish(self, *, rows: QuerySet[Job], **columns: object) -> int:
        return self.end(rows=rows, state=self.done, **columns)

    def fail(self, *, rows: QuerySet[Job], error: str, **columns: object) -> int:
        return self.end(rows=rows, state=self.failed, error=error, **columns)

    def release(self, *, rows: QuerySet[Job], **columns: object) -> int:
        """The attempt does not count."""
        if self.max_attempts is not None:
            columns["attempts"] = F("attempts") - 1
        return self.end(rows=rows, state=self.waiting, **columns)

    def retry(self, *, rows: QuerySet[Job], **columns: object) -> int:
        return self.end(rows=rows, state=self.waiting, **columns)

    def end(self, *, rows: QuerySet[Job], state: str, **columns: object) -> int:
        return rows.update(state=state, leased_until=None, **columns)

    def free_expired(self, *, rows: QuerySet[Job], error: str, now: datetime, **columns: object) -> tuple[int, int]:
        """Free the rows whose lease is over, or fail them at their last attempt. Returns both numbers.

        Skips locked rows, whose holders renew, finish or free them. Sets `error` and `columns` only in rows that fail.
        """
        with transaction.atomic():
            expired = rows.filter(self._expired(now)).order_by("pk").select_for_update(skip_locked=True, no_key=True)
            attempts = dict(expired.values_list("pk", "attempts"))
            exhausted = {pk for pk, count in attempts.items() if count >= (self.max_attempts or 0)}
            freed = self.retry(rows=self._all().filter(pk__in=attempts.keys() - exhausted))
            failed = self.fail(rows=self._all().filter(pk__in=exhausted), error=error, **columns)
        return freed, failed

    def _expired(self, now: datetime) -> Q:
        return Q(state=self.running, leased_until__lte=now)

    def _all(self) -> QuerySet[Job]:
        return self.model._default_manager.all()
