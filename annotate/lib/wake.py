"""Wake workers. A message carries only ids of stored rows, so a lost one costs only time."""

import logging
from functools import partial

from django.db import transaction
from kombu.exceptions import ChannelError, KombuError

from annotate.celery import app

log = logging.getLogger(__name__)


def wake(task: str, *ids: int) -> None:
    transaction.on_commit(partial(_send, task, ids))


def _send(task: str, ids: tuple[int, ...]) -> None:
    try:
        app.send_task(task, args=ids, retry=False)
    except (KombuError, ChannelError, OSError) as unreachable:
        log.warning("%s%s was not sent, but a sweep will find it: %s", task, ids, unreachable)
