"""Importing this module does not load torch."""

import logging
import os
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import gettext

from annotate.samples.models import Origin, Policy
from annotate.samples.rules import is_folder
from annotate.samples.spec import LOADED

if TYPE_CHECKING:
    from models_worker.engine.transformers_engine import TransformersSampler

log = logging.getLogger(__name__)


class NotLoaded(Exception):
    """The message is for the manager."""


def sampler(policy: Policy) -> "TransformersSampler":
    """Raises NotLoaded or engine.templates.Interrupted."""
    leave_room_for_others(os.environ)
    from models_worker.engine.checkpoint import LoadError
    from models_worker.engine.loader import load_policy
    from models_worker.engine.templates import Interrupted
    from models_worker.engine.transformers_engine import TransformersSampler

    location, revision = _place(policy.location, on_hub=policy.origin == Origin.HUB)
    adapter, adapter_revision = "", None
    if policy.adapter:
        on_hub = policy.origin == Origin.HUB and not is_folder(policy.adapter)
        adapter, adapter_revision = _place(policy.adapter, on_hub=on_hub)
    try:
        loaded = load_policy(
            location,
            revision=revision,
            adapter_revision=adapter_revision,
            **{name: getattr(policy, name) for name in LOADED} | {"adapter": adapter},
        )
        return TransformersSampler(loaded)
    except LoadError as error:
        raise NotLoaded(str(error)) from error
    except Interrupted:
        raise
    except Exception as error:
        # A bad checkpoint may raise anything.
        log.exception("Policy %d cannot be loaded", policy.id)
        reason = f"{type(error).__name__}: {error}"
        raise NotLoaded(gettext("The policy cannot be loaded: %(error)s") % {"error": reason}) from error


@cache
def has_gpu() -> bool:
    leave_room_for_others(os.environ)
    import torch

    return torch.cuda.is_available()


def leave_room_for_others(environment: MutableMapping[str, str]) -> None:
    """Limit torch's threads before its import, unless the operator has set them.

    By default waiting threads spin on every core. Beside a busy web server and database, 160 completions on two cores
    took 38 s instead of 1.7 s.
    """
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) - 1)))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _place(named: str, *, on_hub: bool) -> tuple[str, str | None]:
    """A hub id with its revision, or a folder. Raises NotLoaded."""
    if on_hub:
        location, _at, revision = named.partition("@")
        return location, revision or None
    # Relative to the checkout. The hub is never asked for a missing folder.
    folder = settings.BASE_DIR / Path(named).expanduser()
    if not folder.is_dir():
        raise NotLoaded(gettext("There is no folder %(folder)s on this worker.") % {"folder": folder})
    return str(folder), None
