"""The states of sampling runs, sampling requests and probes."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RunState(models.TextChoices):
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    # It ended without a completion, because its prompts failed.
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class ProbeState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Being probed")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")


class RequestState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    LEASED = "leased", _("Being sampled")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
