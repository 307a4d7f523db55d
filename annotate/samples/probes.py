from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.lib.jobs import Jobs
from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.samples.models import Origin, Policy, ServerProbe
from annotate.samples.states import ProbeState
from annotate.samples.tasks import PROBE

PROBES = Jobs(
    model=ServerProbe,
    waiting=ProbeState.WAITING,
    running=ProbeState.RUNNING,
    done=ProbeState.DONE,
    failed=ProbeState.FAILED,
    claim_columns=("worker", "attempts"),
    max_attempts=3,
)
# For the progress bar. A test compares it with the engine's.
STAGES = 6
WORKER_STOPPED = _("The worker stopped three times while it probed this server.")


class NoServer(Refusal):
    message = _("Only a policy behind a server can be probed.")


class ProbeUnderWay(Refusal):
    message = _("A worker is already probing this server. Wait until it has finished.")


def waiting(*, now: datetime) -> QuerySet[ServerProbe]:
    return PROBES.free(now=now).order_by("asked_at", "id")


def ask(*, policy: Policy, now: datetime) -> ServerProbe:
    """Earlier findings stay until the probe is done. Raises NoServer or ProbeUnderWay."""
    if policy.origin != Origin.SERVER:
        raise NoServer
    with transaction.atomic():
        probe, created = ServerProbe.objects.get_or_create(policy=policy, defaults={"asked_at": now})
        ended = ServerProbe.objects.filter(id=probe.id, state__in=[ProbeState.DONE, ProbeState.FAILED])
        if not created and not ended.update(
            state=ProbeState.WAITING, stage=0, attempts=0, error="", worker="", asked_at=now
        ):
            raise ProbeUnderWay
        wake(PROBE, probe.id)
    return ServerProbe.objects.get(id=probe.id)


def claim(*, worker: str, lease: timedelta, now: datetime) -> ServerProbe | None:
    # Workers look often and rarely find one.
    if not waiting(now=now).exists():
        return None
    PROBES.free_expired(rows=ServerProbe.objects.all(), error=str(WORKER_STOPPED), now=now)
    rows = waiting(now=now).select_related("policy")
    return PROBES.claim(rows=rows, until=now + lease, worker=worker, stage=0)


def advance(*, probe: ServerProbe, stage: int, lease: timedelta, now: datetime) -> None:
    PROBES.renew(rows=PROBES.held(job=probe), until=now + lease, stage=stage)


def finish(*, probe: ServerProbe, findings: dict[str, object], now: datetime) -> bool:
    """False if the worker lost the lease."""
    return bool(PROBES.finish(rows=PROBES.held(job=probe), findings=findings, found_at=now, error=""))


def fail(*, probe: ServerProbe, error: str) -> bool:
    return bool(PROBES.fail(rows=PROBES.held(job=probe), error=error))


def release(*, probe: ServerProbe) -> bool:
    return bool(PROBES.release(rows=PROBES.held(job=probe)))
