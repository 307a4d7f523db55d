from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort, User
from annotate.guidelines.models import Guideline, GuidelineVersion
from annotate.pools.models import Pool, Prompt
from annotate.samples.models import Policy
from annotate.work.states import CampaignState, Move, State


class Workflow(models.TextChoices):
    DEMONSTRATIONS = "demonstrations", _("Demonstrations")
    RANKINGS = "rankings", _("Rankings")
    EDITS = "edits", _("Instructions")


class Campaign(models.Model):
    """One kind of work over one pool: how many answers each task gets, under which guideline, from whom."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    workflow = models.CharField(_("kind of work"), max_length=16, choices=Workflow.choices)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="campaigns", verbose_name=_("pool"))
    guideline = models.ForeignKey(
        Guideline, on_delete=models.PROTECT, related_name="campaigns", verbose_name=_("guideline")
    )
    overlap = models.PositiveSmallIntegerField(
        _("answers per task"), default=1, validators=[MinValueValidator(1), MaxValueValidator(50)]
    )
    lease_minutes = models.PositiveSmallIntegerField(
        _("lease in minutes"), default=30, validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    review_percent = models.PositiveSmallIntegerField(
        _("share reviewed, in percent"), default=0, validators=[MaxValueValidator(100)]
    )
    # Who may work: everybody of these cohorts, or only the named people where some are named.
    cohorts = models.JSONField(_("cohorts"), default=list)
    labelers = models.ManyToManyField(User, blank=True, related_name="campaigns", verbose_name=_("named labelers"))
    # Rankings: how many candidates make a slate, and whose completions may stand in it (none named: anybody's).
    slate_min = models.PositiveSmallIntegerField(
        _("fewest candidates"), default=4, validators=[MinValueValidator(4), MaxValueValidator(9)]
    )
    slate_max = models.PositiveSmallIntegerField(
        _("most candidates"), default=9, validators=[MinValueValidator(4), MaxValueValidator(9)]
    )
    policies = models.ManyToManyField(Policy, blank=True, related_name="campaigns", verbose_name=_("policies"))
    # Instructions: where an accepted one becomes a prompt.
    target_pool = models.ForeignKey(
        Pool,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("pool for accepted instructions"),
    )
    # Instructions: is every prompt of the pool rewritten, or are only the managers' briefs answered?
    rewrite_pool = models.BooleanField(_("rewrite the pool's prompts"), default=True)
    state = models.CharField(max_length=16, choices=CampaignState.choices, default=CampaignState.DRAFT)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(workflow__in=Workflow.values), name="campaign_workflow_known"),
            models.CheckConstraint(condition=Q(state__in=CampaignState.values), name="campaign_state_known"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=50), name="campaign_overlap_1_to_50"),
            models.CheckConstraint(condition=Q(lease_minutes__gte=1), name="campaign_lease_at_least_a_minute"),
            models.CheckConstraint(condition=Q(review_percent__lte=100), name="campaign_review_percent_to_100"),
            models.CheckConstraint(
                condition=Q(slate_min__gte=4, slate_max__lte=9, slate_min__lte=F("slate_max")),
                name="campaign_slate_4_to_9",
            ),
            models.CheckConstraint(
                condition=~Q(workflow=Workflow.EDITS) | Q(target_pool__isnull=False),
                name="campaign_edits_have_a_target",
            ),
            models.CheckConstraint(
                condition=Q(state=CampaignState.DRAFT, opened_at=None)
                | (~Q(state=CampaignState.DRAFT) & Q(opened_at__isnull=False)),
                name="campaign_opened_unless_draft",
            ),
            models.CheckConstraint(
                condition=Q(state=CampaignState.CLOSED, closed_at__isnull=False)
                | (~Q(state=CampaignState.CLOSED) & Q(closed_at=None)),
                name="campaign_closed_at_when_closed",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def held_out_allowed(self) -> bool:
        return Cohort.HELD_OUT in self.cohorts


class Task(models.Model):
    """One prompt of a campaign; none where a new instruction is written. What a bench adds hangs on it one to one."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="tasks")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="tasks")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Opening a campaign twice, or two workers opening the same ready slate, makes each task once.
            models.UniqueConstraint(
                fields=["campaign", "prompt"], condition=Q(prompt__isnull=False), name="task_prompt_once"
            ),
        ]


class Assignment(models.Model):
    """One answer wanted: the slot and its whole life. Overlap is the number of these rows, so no count goes wrong."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="assignments")
    # Repeated from the task, for the indexes below.
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="assignments")
    slot = models.PositiveSmallIntegerField()
    # Where the slot stands in its campaign's queue; claims go up along it.
    position = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="assignments")
    leased_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    # Sent by the page with the submit: the same key again is the same submit again.
    submit_key = models.UUIDField(null=True, unique=True)
    # What the labeler had acknowledged when the answer was submitted.
    guideline_version = models.ForeignKey(
        GuidelineVersion, on_delete=models.PROTECT, null=True, related_name="assignments"
    )
    # Drawn at submit: does this answer wait for a reviewer?
    needs_review = models.BooleanField(default=False)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    comment = models.TextField(blank=True, help_text=_("the reviewer's words, with an acceptance or a sending back"))
    # How often this answer was sent back. Above 0 the slot belongs to its labeler, lease or not.
    rounds = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "slot"], name="assignment_slot_once"),
            # Nobody answers a task twice.
            models.UniqueConstraint(
                fields=["task", "labeler"], condition=Q(labeler__isnull=False), name="assignment_labeler_once_a_task"
            ),
            # Two tabs, one lease.
            models.UniqueConstraint(
                fields=["labeler", "campaign"], condition=Q(state=State.LEASED), name="assignment_one_lease"
            ),
            models.CheckConstraint(condition=Q(slot__gte=1), name="assignment_slot_from_1"),
            models.CheckConstraint(
                condition=Q(state=State.OPEN, labeler=None, leased_until=None, submitted_at=None, rounds=0)
                | Q(state=State.CANCELLED, leased_until=None)
                | Q(state=State.LEASED, labeler__isnull=False, leased_until__isnull=False)
                | Q(
                    state__in=[State.SUBMITTED, State.ACCEPTED, State.SENT_BACK],
                    labeler__isnull=False,
                    leased_until=None,
                    submitted_at__isnull=False,
                    guideline_version__isnull=False,
                ),
                name="assignment_state_and_columns_agree",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[State.ACCEPTED, State.SENT_BACK]) | Q(decided_at__isnull=False),
                name="assignment_decided_when_decided",
            ),
            # Nobody judges their own answer, whatever roles they have had.
            models.CheckConstraint(condition=~Q(decided_by=F("labeler")), name="assignment_decided_by_another"),
        ]
        indexes = [
            # The claim: the next open slot after a position.
            models.Index(fields=["campaign", "position"], condition=Q(state=State.OPEN), name="assignment_open"),
            # The sweep: leases that ended.
            models.Index(fields=["leased_until"], condition=Q(state=State.LEASED), name="assignment_leased"),
            # The desk: what a labeler holds or got back. The history: what they did, newest first.
            models.Index(
                fields=["labeler", "state", "submitted_at"],
                condition=Q(labeler__isnull=False),
                name="assignment_of_labeler",
            ),
            # The reviewer's queue.
            models.Index(
                fields=["campaign", "submitted_at"],
                condition=Q(state=State.SUBMITTED, needs_review=True),
                name="assignment_to_review",
            ),
            # Exports, agreement and progress read by campaign and state.
            models.Index(fields=["campaign", "state"], name="assignment_campaign_state"),
        ]


class Seat(models.Model):
    """A labeler's place in a campaign. Its row lock makes one person's claims wait for each other, in all their tabs.

    The cursor is the queue position they reached, so that the next claim looks past all they have already answered.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="seats")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="seats")
    cursor = models.BigIntegerField(default=-1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "labeler"], name="seat_once")]


class Draft(models.Model):
    """What a labeler has typed for a task. It outlives the lease, the browser and the skip."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="drafts")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="drafts")
    body = models.JSONField(help_text=_("the form's fields as the browser sent them"))
    saved_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "labeler"], name="draft_once")]


class SkipReason(models.TextChoices):
    UNCLEAR = "unclear", _("The task is very unclear")
    SENSITIVE = "sensitive", _("I would rather not work on this content")
    EXPERTISE = "expertise", _("It needs knowledge that I do not have")
    PERSONAL_DATA = "personal_data", _("It contains personal data")
    BROKEN = "broken", _("Something is technically broken")
    OTHER = "other", _("Another reason")


class Skip(models.Model):
    """A task a labeler passed on; it does not come back to them."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="skips")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="skips")
    reason = models.CharField(_("reason"), max_length=16, choices=SkipReason.choices)
    note = models.TextField(_("note"), blank=True)
    skipped_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "labeler"], name="skip_once"),
            models.CheckConstraint(condition=Q(reason__in=SkipReason.values), name="skip_reason_known"),
        ]


class Event(models.Model):
    """One move of one assignment, written in the same transaction. Append-only, by a trigger."""

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="events")
    move = models.CharField(max_length=16, choices=Move.choices)
    # Nobody: the sweep, or the engine itself.
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField()
    # What the row loses by the move, such as whose lease expired or the answer that a later one replaces.
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["assignment", "id"], name="event_history")]
