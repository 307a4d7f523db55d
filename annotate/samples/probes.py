"""Finding out what a server can do: managers ask, a worker does it under a lease, and its death gives it to another."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.samples.actions import MAX_ATTEMPTS, PROBE
from annotate.samples.models import Origin, Policy, ServerProbe
from annotate.samples.states import ProbeState

# How many a probe has, for its progress. A test compares it with the engine's.
STAGES = 6
WORKER_STOPPED = _("The worker stopped three times while it asked this server.")


class NoServer(Refusal):
    message = _("Only a policy behind a server can be probed.")


class ProbeUnderWay(Refusal):
    message = _("The server is being probed already.")


def waiting(*, now: datetime) -> QuerySet[ServerProbe]:
    """Probes that nobody works on, also those whose worker died, in the order in which they were asked for."""
    free = Q(state=ProbeState.WAITING) | Q(state=ProbeState.RUNNING, leased_until__lte=now)
    return ServerProbe.objects.filter(free).order_by("asked_at", "id")


def ask(*, policy: Policy, now: datetime) -> ServerProbe:
    """Probe the server of a policy again; what was found before stands until then. Raises NoServer or ProbeUnderWay."""
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
    """Take the probe that waits longest. One that has taken three workers down fails instead."""
    if not waiting(now=now).exists():
        # As nearly always, and workers look often.
        return None
    with transaction.atomic():
        waiting(now=now).filter(attempts__gte=MAX_ATTEMPTS).update(
            state=ProbeState.FAILED, leased_until=None, error=str(WORKER_STOPPED)
        )
        probe = waiting(now=now).select_for_update(skip_locked=True, of=("self",)).first()
        if not probe:
            return None
        ServerProbe.objects.filter(id=probe.id).update(
            state=ProbeState.RUNNING, leased_until=now + lease, worker=worker, stage=0, attempts=F("attempts") + 1
        )
    return ServerProbe.objects.select_related("policy").get(id=probe.id)


def advance(*, probe: ServerProbe, stage: int, lease: timedelta, now: datetime) -> None:
    """Note that a stage is over, and hold on to the probe."""
    _held(probe).update(stage=stage, leased_until=now + lease)


def finish(*, probe: ServerProbe, findings: dict[str, Any], now: datetime) -> bool:
    """Keep what was found, as long as the probe is still this worker's."""
    done = {"state": ProbeState.DONE, "leased_until": None, "findings": findings, "found_at": now, "error": ""}
    return bool(_held(probe).update(**done))


def fail(*, probe: ServerProbe, error: str) -> bool:
    return bool(_held(probe).update(state=ProbeState.FAILED, leased_until=None, error=error))


def release(*, probe: ServerProbe) -> bool:
    """Give it back, because the worker is stopping and not because anything failed."""
    return bool(_held(probe).update(state=ProbeState.WAITING, leased_until=None, attempts=F("attempts") - 1))


def _held(probe: ServerProbe) -> QuerySet[ServerProbe]:
    """The row, if its lease is still the one under which `probe` was claimed."""
    return ServerProbe.objects.filter(
        id=probe.id, state=ProbeState.RUNNING, worker=probe.worker, attempts=probe.attempts
    )
