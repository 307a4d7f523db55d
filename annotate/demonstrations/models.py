from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.work.models import Assignment


class Demonstration(models.Model):
    """The answer that a labeler wrote to a prompt."""

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="demonstration")
    text = models.TextField(_("answer"))
    written_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=~models.Q(text=""), name="demonstration_not_empty")]
