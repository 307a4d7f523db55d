import logging
import os
import platform
import secrets
from dataclasses import asdict
from datetime import timedelta
from threading import Event

import django.db
from django.utils import timezone
from django.utils.translation import gettext

from annotate.samples import probes
from annotate.samples.models import ServerProbe
from models_worker.engine.templates import Interrupted, interruptible
from models_worker.engine.types import SamplerUnusable

log = logging.getLogger(__name__)

# Longer than a stage of requests with retries.
LEASE = timedelta(minutes=10)


class Stopped(Exception):
    """This process must stop."""


def probe_waiting(stopping: Event) -> None:
    """Idempotent and safe to run concurrently."""
    worker = f"{platform.node()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
    while not stopping.is_set() and (probe := probes.claim(worker=worker, lease=LEASE, now=timezone.now())):
        _probe(probe, stopping)


def _probe(probe: ServerProbe, stopping: Event) -> None:
    # See loading.py.
    from models_worker import servers
    from models_worker.engine.chat import ChatError
    from models_worker.engine.probe import ProbeFailed
    from models_worker.engine.probe import probe as ask

    def on_stage(number: int) -> None:
        probes.advance(probe=probe, stage=number, lease=LEASE, now=timezone.now())
        if stopping.is_set():
            raise Stopped

    try:
        with interruptible(stopping.is_set):
            findings = ask(servers.server_of(probe.policy), patience=servers.PROBING, on_stage=on_stage)
    except (Stopped, Interrupted):
        probes.release(probe=probe)
    except (servers.NotAllowed, ProbeFailed, SamplerUnusable, ChatError) as reason:
        log.warning("The server of policy %d cannot be probed; its page says why", probe.policy_id)
        probes.fail(probe=probe, error=str(reason))
    except django.db.Error:
        # The lease expires.
        raise
    except Exception as error:
        # Libraries may raise anything for a bad answer.
        log.exception("The probe of policy %d's server failed", probe.policy_id)
        probes.fail(
            probe=probe,
            error=gettext("The probe stopped with an unexpected error: %(error)s") % {"error": type(error).__name__},
        )
    else:
        probes.finish(probe=probe, findings=asdict(findings), now=timezone.now())
