from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.pools.models import QuarantineReason
from annotate.pools.quarantine import Case
from annotate.work.models import Campaign


class ExportState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")


class Export(models.Model):
    campaigns = models.ManyToManyField(Campaign, related_name="exports", verbose_name=_("campaigns"))
    state = models.CharField(max_length=16, choices=ExportState.choices, default=ExportState.WAITING)
    leased_until = models.DateTimeField(null=True)
    # In answers and prompts.
    rows_done = models.PositiveIntegerField(default=0)
    rows_total = models.PositiveIntegerField(null=True)
    # In the storage. One for each attempt: an attempt that lost its lease may still be writing.
    folder = models.CharField(max_length=100, blank=True)
    manifest = models.JSONField(null=True)
    error = models.TextField(blank=True)
    # After a leak, the first prompts to remove: [{"prompt": id, "twin": id, "reason": a QuarantineReason}, ...].
    leaks = models.JSONField(default=list)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=ExportState.values), name="export_state_known"),
            models.CheckConstraint(
                condition=~models.Q(state=ExportState.DONE) | models.Q(manifest__isnull=False),
                name="export_done_has_a_manifest",
            ),
        ]

    @property
    def cases(self) -> list[Case]:
        return [Case(leak["prompt"], leak["twin"], QuarantineReason(leak["reason"])) for leak in self.leaks]
