from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User


class Guideline(models.Model):
    name = models.CharField(_("name"), max_length=120, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class GuidelineVersion(models.Model):
    """A text of a guideline. A trigger prevents changes of published texts, to which answers refer."""

    guideline = models.ForeignKey(Guideline, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    body = models.TextField(_("text"))
    summary = models.CharField(_("what changed"), max_length=300, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["guideline", "number"], name="guidelineversion_number_once"),
            # Publishing needs a single draft.
            models.UniqueConstraint(
                fields=["guideline"], condition=models.Q(published_at=None), name="guidelineversion_one_draft"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.guideline.name} v{self.number}"


class Acknowledgement(models.Model):
    version = models.ForeignKey(GuidelineVersion, on_delete=models.PROTECT, related_name="acknowledgements")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="acknowledgements")
    acknowledged_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "labeler"], name="acknowledgement_once")]
