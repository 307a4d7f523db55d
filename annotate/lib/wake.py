"""Waking a worker up. The message carries ids of rows that are already stored, so losing it costs only time."""

import logging
from functools import partial

from django.db import transaction
from kombu.exceptions import ChannelError, KombuError

from annotate.celery import app

log = logging.getLogger(__name__)


def wake(task: str, *ids: int) -> None:
    """Send a task by its name once the transaction is committed; before that a worker would find no rows.

    A broker that is down refuses nothing to the person who asked; the task's sweep finds the rows later.
    """
    transaction.on_commit(partial(_send, task, ids))


def _send(task: str, ids: tuple[int, ...]) -> None:
    try:
        app.send_task(task, args=ids, retry=False)
    except (KombuError, ChannelError, OSError) as unreachable:
        log.warning("%s%s was not announced, its sweep will find it: %s", task, ids, unreachable)
