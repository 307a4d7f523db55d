from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Qualification, User
from annotate.guidelines.models import Guideline, GuidelineVersion
from annotate.pools.models import Pool, Prompt
from annotate.work.states import CampaignState, Move, State


class Order(models.TextChoices):
    """sql/filling.sql computes the positions."""

    DEPTH = "depth", _("Finish a task's answers before the next task")
    BREADTH = "breadth", _("One answer for every task before the second")
    PRIORITY = "priority", _("Prompts of higher priority first")
    RANDOM = "random", _("At random, by a seed")


class Campaign(models.Model):
    """One workflow on one pool. The workflow's own settings are in a CampaignSettings table."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    # No constraint lists the keys: a new workflow needs no migration here.
    workflow = models.CharField(_("workflow"), max_length=32)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="campaigns", verbose_name=_("pool"))
    guideline = models.ForeignKey(
        Guideline, on_delete=models.PROTECT, related_name="campaigns", verbose_name=_("guideline")
    )
    overlap = models.PositiveSmallIntegerField(
        _("answers per task"), default=1, validators=[MinValueValidator(1), MaxValueValidator(50)]
    )
    # The last task that `match_overlap` has matched. None: all.
    matched_to = models.BigIntegerField(null=True, editable=False)
    order = models.CharField(_("order"), max_length=16, choices=Order.choices, default=Order.DEPTH)
    order_seed = models.BigIntegerField(_("seed of the order"), default=0)
    # 0: never.
    skip_limit = models.PositiveSmallIntegerField(
        _("skips until a task stops"), default=3, validators=[MaxValueValidator(50)]
    )
    # 0: a submit is final.
    undo_minutes = models.PositiveSmallIntegerField(
        _("minutes to undo a submit"), default=5, validators=[MaxValueValidator(1440)]
    )
    # An export has read the answers until then: no undo.
    settled_at = models.DateTimeField(null=True, editable=False)
    lease_minutes = models.PositiveSmallIntegerField(
        _("lease in minutes"), default=30, validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    review_percent = models.PositiveSmallIntegerField(
        _("share reviewed, in percent"), default=0, validators=[MaxValueValidator(100)]
    )
    # Named labelers replace the cohorts.
    cohorts = models.JSONField(_("cohorts"), default=list)
    labelers = models.ManyToManyField(User, blank=True, related_name="campaigns", verbose_name=_("named labelers"))
    qualifications = models.ManyToManyField(
        Qualification, blank=True, related_name="campaigns", verbose_name=_("qualifications needed")
    )
    # Of its tasks; "" for tasks without a prompt.
    languages = models.JSONField(default=list, editable=False)
    state = models.CharField(max_length=16, choices=CampaignState.choices, default=CampaignState.DRAFT)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(workflow=""), name="campaign_has_a_workflow"),
            models.CheckConstraint(condition=Q(state__in=CampaignState.values), name="campaign_state_known"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=50), name="campaign_overlap_1_to_50"),
            models.CheckConstraint(condition=Q(order__in=Order.values), name="campaign_order_known"),
            models.CheckConstraint(condition=Q(lease_minutes__gte=1), name="campaign_lease_at_least_a_minute"),
            models.CheckConstraint(condition=Q(review_percent__lte=100), name="campaign_review_percent_to_100"),
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


class CampaignSettings(models.Model):
    """Settings of one workflow."""

    campaign = models.OneToOneField(Campaign, on_delete=models.CASCADE, primary_key=True, related_name="%(class)s")

    class Meta:
        abstract = True


class Task(models.Model):
    """One prompt of a campaign, or none. Workflows add rows one-to-one."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="tasks")
    created_at = models.DateTimeField()
    # Too many skips. `excused` counts skips that a manager has decided about.
    stopped_at = models.DateTimeField(null=True)
    excused = models.PositiveSmallIntegerField(default=0, db_default=0)
    # Another task replaced it before anybody opened it.
    retired_at = models.DateTimeField(null=True)
    # Its prompt is in quarantine.
    held_at = models.DateTimeField(null=True)
    # Returned slots are cancelled.
    dropped_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "prompt"],
                condition=Q(prompt__isnull=False, retired_at=None),
                name="task_prompt_once",
            ),
        ]
        indexes = [
            models.Index(fields=["campaign", "id"], name="task_of_campaign"),
            models.Index(fields=["campaign", "stopped_at"], condition=Q(stopped_at__isnull=False), name="task_stopped"),
        ]


class Hand(models.IntegerChoices):
    """The two tasks that a labeler may hold in a campaign."""

    ACTIVE = 0
    PREFETCHED = 1


SUBMIT_KEY_ONCE = "assignment_submit_key_once"


class Assignment(models.Model):
    """A slot for one answer to a task."""

    # No index on most foreign keys: every claim and submit writes all indexes.
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    # Copied from the task, for the indexes.
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    language = models.CharField(max_length=16, default="", db_default="")
    slot = models.PositiveSmallIntegerField()
    # Place in the queue. Below 0: a returned slot, which goes first.
    position = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN, db_default=State.OPEN)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="assignments", db_index=False)
    hand = models.PositiveSmallIntegerField(choices=Hand.choices, default=Hand.ACTIVE, db_default=Hand.ACTIVE)
    leased_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    # A repeated key means a repeated submit.
    submit_key = models.UUIDField(null=True)
    # Acknowledged at the claim.
    guideline_version = models.ForeignKey(
        GuidelineVersion, on_delete=models.PROTECT, null=True, related_name="assignments", db_index=False
    )
    # None: no report.
    active_seconds = models.PositiveIntegerField(null=True)
    needs_review = models.BooleanField(default=False, db_default=False)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    decided_at = models.DateTimeField(null=True)
    comment = models.TextField(
        blank=True, default="", db_default="", help_text=_("the reviewer's comment on the answer")
    )
    # How often the answer was sent back. Above 0 the slot stays with its labeler.
    rounds = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "slot"], name="assignment_slot_once"),
            models.UniqueConstraint(
                fields=["task", "labeler"], condition=Q(labeler__isnull=False), name="assignment_labeler_once_a_task"
            ),
            models.UniqueConstraint(
                fields=["labeler", "campaign", "hand"], condition=Q(state=State.LEASED), name="assignment_one_lease"
            ),
            models.UniqueConstraint(fields=["submit_key"], condition=Q(submit_key__isnull=False), name=SUBMIT_KEY_ONCE),
            models.CheckConstraint(
                condition=Q(hand=Hand.ACTIVE) | Q(state=State.LEASED), name="assignment_ahead_only_leased"
            ),
            models.CheckConstraint(condition=Q(slot__gte=1), name="assignment_slot_from_1"),
            models.CheckConstraint(
                condition=Q(
                    state__in=[State.OPEN, State.STOPPED],
                    labeler=None,
                    leased_until=None,
                    submitted_at=None,
                    rounds=0,
                )
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
            # Nobody may review their own answer.
            models.CheckConstraint(condition=~Q(decided_by=F("labeler")), name="assignment_decided_by_another"),
        ]
        indexes = [
            models.Index(
                fields=["campaign", "language", "position"], condition=Q(state=State.OPEN), name="assignment_open"
            ),
            models.Index(fields=["leased_until"], condition=Q(state=State.LEASED), name="assignment_leased"),
            models.Index(
                fields=["labeler", "submitted_at", "id"],
                condition=Q(submitted_at__isnull=False),
                name="assignment_answers",
            ),
            models.Index(fields=["labeler"], condition=Q(state=State.SENT_BACK), name="assignment_sent_back"),
            models.Index(
                fields=["campaign", "submitted_at"],
                condition=Q(state=State.SUBMITTED, needs_review=True),
                name="assignment_to_review",
            ),
            models.Index(fields=["campaign", "state", "labeler"], name="assignment_campaign_state"),
            models.Index(
                fields=["campaign", "submitted_at"],
                condition=Q(submitted_at__isnull=False, active_seconds__isnull=False),
                name="assignment_timed",
            ),
        ]

    @property
    def labeler_state(self) -> State:
        """Hides an acceptance without review, which would reveal the draw."""
        if self.state == State.ACCEPTED and self.decided_by_id is None:
            return State.SUBMITTED
        return State(self.state)

    def get_labeler_state_display(self) -> str:
        return str(self.labeler_state.label)


START = -(2**63)


class Seat(models.Model):
    """A labeler's place in a queue. Its row lock makes their tabs wait for each other."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="seats", db_index=False)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="seats")
    # The last position searched, among other slots and among returned ones.
    cursor = models.BigIntegerField(default=-1)
    returned = models.BigIntegerField(default=START)
    languages = models.JSONField(default=list)
    # Nothing is left behind the cursor. Code that adds slots there clears this.
    searched = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "labeler"], name="seat_once")]


class Draft(models.Model):
    """What a labeler has typed. A draft outlives the lease and a skip."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="drafts")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="drafts")
    body = models.JSONField(help_text=_("the form's fields as the browser sent them"))
    saved_at = models.DateTimeField()
    # Not stored: see drafts.save_draft.
    unseen: dict[str, Any] | None = None

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "labeler"], name="draft_once")]

    @property
    def version(self) -> str:
        return self.saved_at.isoformat()


class PageVisit(models.Model):
    """The active seconds of one visit to a task's page."""

    # Chosen by the page.
    id = models.UUIDField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="page_visits")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="page_visits")
    reported = models.FloatField()
    # The part of `reported` that counts: see times.py.
    seconds = models.FloatField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seconds__gte=0, reported__gte=F("seconds")), name="visit_counts_some")
        ]
        indexes = [models.Index(fields=["task", "labeler"], name="visit_of_task")]


class Stopwatch(models.Model):
    """Prevents counting a second for two tabs or tasks."""

    labeler = models.OneToOneField(User, on_delete=models.PROTECT, primary_key=True, related_name="stopwatch")
    counted_until = models.DateTimeField()


class SkipReason(models.TextChoices):
    UNCLEAR = "unclear", _("The task is very unclear")
    SENSITIVE = "sensitive", _("I would rather not work on this content")
    EXPERTISE = "expertise", _("It needs knowledge that I do not have")
    PERSONAL_DATA = "personal_data", _("It contains personal data")
    BROKEN = "broken", _("Something is technically broken")
    OTHER = "other", _("Another reason")


class Skip(models.Model):
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
    """A move of a slot. A trigger makes events append-only."""

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="events", db_index=False)
    move = models.CharField(max_length=16, choices=Move.choices)
    # None: the engine.
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    at = models.DateTimeField()
    # What the slot loses, such as the labeler of an expired lease.
    detail = models.JSONField(default=dict, db_default={})

    class Meta:
        indexes = [models.Index(fields=["assignment", "id"], name="event_history")]
