from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.samples.models import Completion
from annotate.work.models import Assignment, Task


class Candidate(models.Model):
    """One completion of a task's slate. A slate is 4 to 9 candidates of one prompt, fixed when its task opens."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="candidates")
    completion = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="candidates")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "completion"], name="candidate_once")]


class Showing(models.Model):
    """The order in which a labeler was shown a slate, kept so that position bias can be measured."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="showings")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="showings")
    # Candidate ids, first shown first: the first is A.
    order = models.JSONField()
    shown_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "labeler"], name="showing_once")]


class Ranking(models.Model):
    """A labeler's weak order over a slate; its places are the rows below."""

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="ranking")
    note = models.TextField(_("note"), blank=True)
    ranked_at = models.DateTimeField()


class Placing(models.Model):
    """One candidate's rating and rank in a ranking. Equal ranks are a tie; ranks are dense, 1 is best."""

    ranking = models.ForeignKey(Ranking, on_delete=models.CASCADE, related_name="placings")
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="placings")
    rating = models.PositiveSmallIntegerField(_("rating"))
    rank = models.PositiveSmallIntegerField(_("rank"))

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["ranking", "candidate"], name="placing_once"),
            models.CheckConstraint(condition=Q(rating__gte=1, rating__lte=7), name="placing_rating_1_to_7"),
            models.CheckConstraint(condition=Q(rank__gte=1, rank__lte=9), name="placing_rank_1_to_9"),
        ]
