"""The states of a slate, and why a prompt may have none."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class SlateState(models.TextChoices):
    SAMPLING = "sampling", _("Being sampled")
    # Its task is there, and nobody has opened it.
    READY = "ready", _("Ready")
    USED = "used", _("Opened")
    # A newer one took its place before anybody opened it.
    RETIRED = "retired", _("Replaced")
    NONE = "none", _("No slate")


class Why(models.TextChoices):
    """The commonest reason of a prompt's completions; the first three are gate.Flaw."""

    ALIKE = "alike", _("The completions are too much alike.")
    CUT_OFF = "cut_off", _("The completions are cut off at the length limit.")
    EMPTY = "empty", _("The completions are empty.")
    FAILED = "failed", _("A policy of the mix failed.")
    CANCELLED = "cancelled", _("A sampling run was cancelled.")
