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
    """The order in which a campaign hands out its slots. sql/filling.sql computes the positions."""

    DEPTH = "depth", _("Finish a task's answers before the next task")
    BREADTH = "breadth", _("One answer for every task before the second")
    PRIORITY = "priority", _("Prompts of higher priority first")
    RANDOM = "random", _("At random, by a seed")


class Campaign(models.Model):
    """One workflow over one pool: how many answers each task gets, under which guideline, from whom.

    What only one workflow needs is in its own table, which derives from CampaignSettings.
    """

    name = models.CharField(_("name"), max_length=120, unique=True)
    # A key of annotate/workflows/table.py. No constraint lists them: a new workflow needs no migration here.
    workflow = models.CharField(_("workflow"), max_length=32)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="campaigns", verbose_name=_("pool"))
    guideline = models.ForeignKey(
        Guideline, on_delete=models.PROTECT, related_name="campaigns", verbose_name=_("guideline")
    )
    overlap = models.PositiveSmallIntegerField(
        _("answers per task"), default=1, validators=[MinValueValidator(1), MaxValueValidator(50)]
    )
    # The last task that a changed overlap has reached; None: every task has as many slots as `overlap` says.
    matched_to = models.BigIntegerField(null=True, editable=False)
    order = models.CharField(_("order"), max_length=16, choices=Order.choices, default=Order.DEPTH)
    order_seed = models.BigIntegerField(_("seed of the order"), default=0)
    # How many people may skip a task before it stops; 0: it never does.
    skip_limit = models.PositiveSmallIntegerField(
        _("skips until a task stops"), default=3, validators=[MaxValueValidator(50)]
    )
    # 0: a submit is final.
    undo_minutes = models.PositiveSmallIntegerField(
        _("minutes to undo a submit"), default=5, validators=[MaxValueValidator(1440)]
    )
    # Answers submitted before stand: an export has read them.
    settled_at = models.DateTimeField(null=True, editable=False)
    lease_minutes = models.PositiveSmallIntegerField(
        _("lease in minutes"), default=30, validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    review_percent = models.PositiveSmallIntegerField(
        _("share reviewed, in percent"), default=0, validators=[MaxValueValidator(100)]
    )
    # Who may work: everybody of these cohorts, or only the named people where some are named.
    cohorts = models.JSONField(_("cohorts"), default=list)
    labelers = models.ManyToManyField(User, blank=True, related_name="campaigns", verbose_name=_("named labelers"))
    # Whoever works in it must hold all of these.
    qualifications = models.ManyToManyField(
        Qualification, blank=True, related_name="campaigns", verbose_name=_("qualifications needed")
    )
    # The languages of its tasks, "" for those without a prompt; kept by whoever makes tasks.
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
    """A workflow's own settings of a campaign. The workflow's package derives its table from this one."""

    campaign = models.OneToOneField(Campaign, on_delete=models.CASCADE, primary_key=True, related_name="%(class)s")

    class Meta:
        abstract = True


class Task(models.Model):
    """One prompt of a campaign, or none if a new instruction is written. Workflows add rows one-to-one."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="tasks")
    created_at = models.DateTimeField()
    # Waits for a manager after too many skips. `excused` counts the skips that a manager has decided about.
    stopped_at = models.DateTimeField(null=True)
    excused = models.PositiveSmallIntegerField(default=0, db_default=0)
    # Another task took its place before anybody opened it; its slots are cancelled.
    retired_at = models.DateTimeField(null=True)
    # Its prompt is in quarantine: no slot is open until a manager releases the prompt.
    held_at = models.DateTimeField(null=True)
    # A manager wants no more answers to it: returned slots are cancelled.
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
    """The two tasks of a campaign that a labeler may hold: the active one, and the next one, prefetched by the page."""

    ACTIVE = 0
    PREFETCHED = 1


SUBMIT_KEY_ONCE = "assignment_submit_key_once"


class Assignment(models.Model):
    """A slot for one answer to a task, from open to accepted. A task has `overlap` of these rows."""

    # The foreign keys have no indexes of their own: each claim and submit writes every index, so a query must need it.
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    # Copied from the task and its prompt, for the indexes below.
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    language = models.CharField(max_length=16, default="", db_default="")
    slot = models.PositiveSmallIntegerField()
    # The place in the campaign's queue, in ascending order. Below 0: a returned slot, which goes first.
    position = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN, db_default=State.OPEN)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="assignments", db_index=False)
    hand = models.PositiveSmallIntegerField(choices=Hand.choices, default=Hand.ACTIVE, db_default=Hand.ACTIVE)
    leased_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    # Sent with the submit. A repeated key is a repeated submit.
    submit_key = models.UUIDField(null=True)
    # The version that the labeler had acknowledged at the claim.
    guideline_version = models.ForeignKey(
        GuidelineVersion, on_delete=models.PROTECT, null=True, related_name="assignments", db_index=False
    )
    # None: no browser reported any.
    active_seconds = models.PositiveIntegerField(null=True)
    needs_review = models.BooleanField(default=False, db_default=False)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    decided_at = models.DateTimeField(null=True)
    comment = models.TextField(
        blank=True, default="", db_default="", help_text=_("the reviewer's comment on the answer")
    )
    # How often the answer was sent back. Above 0 the slot belongs to its labeler, with or without a lease.
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
            # Nobody judges their own answer, whatever roles they have had.
            models.CheckConstraint(condition=~Q(decided_by=F("labeler")), name="assignment_decided_by_another"),
        ]
        indexes = [
            # Claims.
            models.Index(
                fields=["campaign", "language", "position"], condition=Q(state=State.OPEN), name="assignment_open"
            ),
            # The sweep.
            models.Index(fields=["leased_until"], condition=Q(state=State.LEASED), name="assignment_leased"),
            # A labeler's answers.
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
            # Exports, agreement, progress.
            models.Index(fields=["campaign", "state", "labeler"], name="assignment_campaign_state"),
            models.Index(
                fields=["campaign", "submitted_at"],
                condition=Q(submitted_at__isnull=False, active_seconds__isnull=False),
                name="assignment_timed",
            ),
        ]

    @property
    def labeler_state(self) -> State:
        """The state that the labeler sees: "submitted" until a reviewer has decided.

        An answer that is not drawn for review is accepted immediately. Showing that would reveal the draw.
        """
        if self.state == State.ACCEPTED and self.decided_by_id is None:
            return State.SUBMITTED
        return State(self.state)

    def get_labeler_state_display(self) -> str:
        return str(self.labeler_state.label)


# Below all positions.
START = -(2**63)


class Seat(models.Model):
    """A labeler's place in a campaign's queue. Its row lock makes the claims from all tabs of a labeler wait.

    The next search begins where the last one ended, past what the labeler has answered or skipped.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="seats", db_index=False)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="seats")
    # The last position searched, and the last one among the returned slots (below 0).
    cursor = models.BigIntegerField(default=-1)
    returned = models.BigIntegerField(default=START)
    # The languages of the search so far.
    languages = models.JSONField(default=list)
    # Nothing is left behind the cursor. Code that puts slots there clears this.
    searched = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "labeler"], name="seat_once")]


class Draft(models.Model):
    """What a labeler has typed for a task. Drafts outlive the lease, the browser and the skip."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="drafts")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="drafts")
    body = models.JSONField(help_text=_("the form's fields as the browser sent them"))
    saved_at = models.DateTimeField()
    # The text of another window that this one replaced; see drafts.save_draft.
    unseen: dict[str, Any] | None = None

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "labeler"], name="draft_once")]

    @property
    def version(self) -> str:
        return self.saved_at.isoformat()


class PageVisit(models.Model):
    """The active seconds of one visit to a task's page. An answer stores the sum of its labeler's visits."""

    # Drawn by the page. Its reports are totals, so repeated reports count once.
    id = models.UUIDField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="page_visits")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="page_visits")
    reported = models.FloatField()
    # The part of `reported` that counts: never more than the time since the labeler's stopwatch.
    seconds = models.FloatField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seconds__gte=0, reported__gte=F("seconds")), name="visit_counts_some")
        ]
        indexes = [models.Index(fields=["task", "labeler"], name="visit_of_task")]


class Stopwatch(models.Model):
    """The time up to which a labeler's seconds are counted, so that none counts in two tabs or for two tasks."""

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
    """One move of one slot. A trigger makes events append-only."""

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="events", db_index=False)
    move = models.CharField(max_length=16, choices=Move.choices)
    # None: the sweep, or the engine itself.
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    at = models.DateTimeField()
    # What the row loses by the move, such as the labeler of an expired lease or the replaced answer.
    detail = models.JSONField(default=dict, db_default={})

    class Meta:
        indexes = [models.Index(fields=["assignment", "id"], name="event_history")]
