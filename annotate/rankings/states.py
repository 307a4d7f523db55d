from django.db import models
from django.utils.translation import gettext_lazy as _


class SlateState(models.TextChoices):
    SAMPLING = "sampling", _("Being sampled")
    # No labeler has opened its task.
    READY = "ready", _("Ready")
    USED = "used", _("Opened")
    # A newer slate replaced it.
    RETIRED = "retired", _("Replaced")
    NONE = "none", _("No slate")


class Why(models.TextChoices):
    """The first three are those of gate.Flaw."""

    ALIKE = "alike", _("The completions are too much alike.")
    CUT_OFF = "cut_off", _("The completions are cut off at the length limit.")
    EMPTY = "empty", _("The completions are empty.")
    FAILED = "failed", _("A policy of the mix failed.")
    CANCELLED = "cancelled", _("A sampling run was cancelled.")
