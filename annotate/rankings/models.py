from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.pools.models import Prompt
from annotate.rankings.states import SlateState, Why
from annotate.samples.models import Completion, Policy, SampleRun, Stage
from annotate.work.models import Assignment, Campaign, CampaignSettings, Task

MAX_AHEAD = 5000


class RankingSettings(CampaignSettings):
    """No policy: all policies."""

    slate_min = models.PositiveSmallIntegerField(
        _("minimum candidates"), default=4, validators=[MinValueValidator(4), MaxValueValidator(9)]
    )
    slate_max = models.PositiveSmallIntegerField(
        _("maximum candidates"), default=9, validators=[MinValueValidator(4), MaxValueValidator(9)]
    )
    policies = models.ManyToManyField(Policy, blank=True, related_name="+", verbose_name=_("policies"))

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(slate_min__gte=4, slate_max__lte=9, slate_min__lte=F("slate_max")),
                name="rankingsettings_slate_4_to_9",
            )
        ]


class Mix(models.Model):
    """How a campaign samples its slates. Without parts, it ranks existing completions."""

    campaign = models.OneToOneField(Campaign, on_delete=models.PROTECT, related_name="mix")
    low = models.PositiveSmallIntegerField(
        _("start sampling when fewer slates are ready than"),
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AHEAD)],
    )
    high = models.PositiveSmallIntegerField(
        _("stop sampling when this many are ready"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AHEAD)],
    )
    cut_off_allowed = models.BooleanField(_("cut-off completions may be ranked"), default=True)
    renew = models.BooleanField(_("replace slates that nobody has opened"), default=False)
    seed = models.BigIntegerField()
    # Prompts up to this id need no slate.
    reached = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(low__gte=1, low__lte=F("high"), high__lte=MAX_AHEAD), name="mix_marks")
        ]


class Pointer(models.TextChoices):
    CURRENT = "current", _("current policy")
    PREVIOUS = "previous", _("previous policy")


class MixPart(models.Model):
    """`count` completions of a policy, or of the policy that a stage's pointer names."""

    mix = models.ForeignKey(Mix, on_delete=models.CASCADE, related_name="parts", db_index=False)
    place = models.PositiveSmallIntegerField()
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, null=True, related_name="+")
    pointer = models.CharField(max_length=8, choices=Pointer.choices, blank=True)
    stage = models.CharField(max_length=8, choices=Stage.choices, blank=True)
    count = models.PositiveSmallIntegerField()
    temperature = models.FloatField()
    top_p = models.FloatField()
    max_new_tokens = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mix", "place"], name="mixpart_place_once"),
            models.CheckConstraint(condition=Q(count__gte=1, count__lte=9), name="mixpart_count_1_to_9"),
            models.CheckConstraint(
                condition=Q(policy__isnull=False, pointer="", stage="")
                | Q(Q(policy=None), ~Q(pointer=""), ~Q(stage="")),
                name="mixpart_policy_or_pointer",
            ),
        ]


class MixVersion(models.Model):
    """A mix at one time, with its pointers resolved. Never changes."""

    mix = models.ForeignKey(Mix, on_delete=models.PROTECT, related_name="versions")
    # A list of slate_queries.ResolvedPart.
    parts = models.JSONField()
    made_at = models.DateTimeField()


class Portion(models.Model):
    """The run that samples a part of a version. Versions with an equal part share a run."""

    version = models.ForeignKey(MixVersion, on_delete=models.PROTECT, related_name="portions", db_index=False)
    place = models.PositiveSmallIntegerField()
    run = models.ForeignKey(SampleRun, on_delete=models.PROTECT, related_name="portions")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "place"], name="portion_place_once")]


class Slate(models.Model):
    """The state of a prompt's slate. Without a version (no mix), only prompts with too similar completions have one."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="slates", db_index=False)
    version = models.ForeignKey(MixVersion, on_delete=models.PROTECT, null=True, related_name="slates", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="slates")
    state = models.CharField(max_length=16, choices=SlateState.choices, default=SlateState.SAMPLING)
    why = models.CharField(max_length=16, choices=Why.choices, blank=True)
    # Requests for further completions in place of rejected ones.
    rounds = models.PositiveSmallIntegerField(default=0)
    # Without a version: different texts when rejected.
    texts = models.PositiveSmallIntegerField(null=True)
    task = models.OneToOneField(Task, on_delete=models.PROTECT, null=True, related_name="slate")

    class Meta:
        constraints = [
            # Concurrent workers request each prompt once.
            models.UniqueConstraint(
                fields=["version", "prompt"], condition=Q(version__isnull=False), name="slate_once_a_version"
            ),
            models.UniqueConstraint(
                fields=["campaign", "prompt"], condition=Q(version=None), name="slate_once_without_version"
            ),
            models.CheckConstraint(
                condition=Q(state=SlateState.SAMPLING, task=None, why="")
                | Q(Q(state=SlateState.NONE, task=None), ~Q(why=""))
                | Q(
                    state__in=[SlateState.READY, SlateState.USED, SlateState.RETIRED],
                    task__isnull=False,
                    why="",
                ),
                name="slate_state_and_columns_agree",
            ),
        ]
        indexes = [
            models.Index(fields=["campaign", "state", "why"], name="slate_of_campaign"),
        ]


class Candidate(models.Model):
    """A slate never changes after its task opens."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="candidates")
    completion = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="candidates")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "completion"], name="candidate_once")]


class Showing(models.Model):
    """A labeler's order of a slate, to measure position bias."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="showings")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="showings")
    # Candidate ids: the first is A.
    order = models.JSONField()
    shown_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "labeler"], name="showing_once")]


class Ranking(models.Model):
    """A labeler's weak order over a slate."""

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="ranking")
    note = models.TextField(_("note"), blank=True)
    ranked_at = models.DateTimeField()


class Placing(models.Model):
    """Rank 1 is best, equal ranks are ties, and ranks have no gaps."""

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
