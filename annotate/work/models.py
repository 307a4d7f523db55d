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
    """In which order a campaign's slots are handed out; queue.py has the arithmetic."""

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

    campaign = models.OneToOneField(
        Campaign, on_delete=models.CASCADE, primary_key=True, related_name="%(app_label)s_settings"
    )

    class Meta:
        abstract = True


class Task(models.Model):
    """One prompt of a campaign; none where a new instruction is written. What a bench adds hangs on it one to one."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="tasks")
    created_at = models.DateTimeField()
    # So many people skipped it that it waits for a manager; `excused` are the skips that a manager has seen.
    stopped_at = models.DateTimeField(null=True)
    excused = models.PositiveSmallIntegerField(default=0, db_default=0)
    # Nobody had opened it when another task took its place; its slots are cancelled.
    retired_at = models.DateTimeField(null=True)
    # Its prompt is in quarantine: no slot is open until a manager releases the prompt.
    held_at = models.DateTimeField(null=True)
    # A manager wants no more answers of it: what comes back is cancelled.
    dropped_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # Opening a campaign twice, or two workers opening the same ready slate, makes each task once.
            models.UniqueConstraint(
                fields=["campaign", "prompt"],
                condition=Q(prompt__isnull=False, retired_at=None),
                name="task_prompt_once",
            ),
        ]
        indexes = [
            # A change of the overlap goes through them step by step.
            models.Index(fields=["campaign", "id"], name="task_of_campaign"),
            # What waits for a manager.
            models.Index(fields=["campaign", "stopped_at"], condition=Q(stopped_at__isnull=False), name="task_stopped"),
        ]


class Hand(models.IntegerChoices):
    """A labeler holds two tasks of a campaign at most: the one they work on, and the next one, ready in the browser."""

    WORK = 0
    AHEAD = 1


SUBMIT_KEY_ONCE = "assignment_submit_key_once"


class Assignment(models.Model):
    """One answer wanted: the slot and its whole life. Overlap is the number of these rows, so no count goes wrong."""

    # No index by itself on any foreign key: a claim and a submit write every index there is, so each one below is one
    # that a query needs.
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    # Repeated from the task and its prompt, for the indexes below.
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="assignments", db_index=False)
    language = models.CharField(max_length=16, default="", db_default="")
    slot = models.PositiveSmallIntegerField()
    # Where the slot stands in its campaign's queue; claims go up along it. Below 0: it came back and goes first.
    position = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN, db_default=State.OPEN)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="assignments", db_index=False)
    hand = models.PositiveSmallIntegerField(choices=Hand.choices, default=Hand.WORK, db_default=Hand.WORK)
    leased_until = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    # Sent by the page with the submit: the same key again is the same submit again.
    submit_key = models.UUIDField(null=True)
    # What the labeler had acknowledged when the answer was submitted.
    guideline_version = models.ForeignKey(
        GuidelineVersion, on_delete=models.PROTECT, null=True, related_name="assignments", db_index=False
    )
    # How long its labeler looked at the task and did something; None where no browser told.
    active_seconds = models.PositiveIntegerField(null=True)
    # Drawn at submit: does this answer wait for a reviewer?
    needs_review = models.BooleanField(default=False, db_default=False)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    decided_at = models.DateTimeField(null=True)
    comment = models.TextField(
        blank=True, default="", db_default="", help_text=_("the reviewer's words, with an acceptance or a sending back")
    )
    # How often this answer was sent back. Above 0 the slot belongs to its labeler, lease or not.
    rounds = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "slot"], name="assignment_slot_once"),
            # Nobody answers a task twice.
            models.UniqueConstraint(
                fields=["task", "labeler"], condition=Q(labeler__isnull=False), name="assignment_labeler_once_a_task"
            ),
            # Two tabs, one lease: one in work, and one ahead.
            models.UniqueConstraint(
                fields=["labeler", "campaign", "hand"], condition=Q(state=State.LEASED), name="assignment_one_lease"
            ),
            models.UniqueConstraint(fields=["submit_key"], condition=Q(submit_key__isnull=False), name=SUBMIT_KEY_ONCE),
            models.CheckConstraint(
                condition=Q(hand=Hand.WORK) | Q(state=State.LEASED), name="assignment_ahead_only_leased"
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
            # The claim: the next open slot after a position, in each language that the labeler reads.
            models.Index(
                fields=["campaign", "language", "position"], condition=Q(state=State.OPEN), name="assignment_open"
            ),
            # The sweep: leases that ended.
            models.Index(fields=["leased_until"], condition=Q(state=State.LEASED), name="assignment_leased"),
            # The history: what a labeler did, newest first, and how much of it today.
            models.Index(
                fields=["labeler", "submitted_at", "id"],
                condition=Q(submitted_at__isnull=False),
                name="assignment_answers",
            ),
            # The desk: what they got back. What they hold has the index of the constraint above.
            models.Index(fields=["labeler"], condition=Q(state=State.SENT_BACK), name="assignment_sent_back"),
            # The reviewer's queue.
            models.Index(
                fields=["campaign", "submitted_at"],
                condition=Q(state=State.SUBMITTED, needs_review=True),
                name="assignment_to_review",
            ),
            # Exports, agreement and progress read by campaign and state; the campaign's page counts each labeler's.
            models.Index(fields=["campaign", "state", "labeler"], name="assignment_campaign_state"),
            # The active time of a campaign's latest answers.
            models.Index(
                fields=["campaign", "submitted_at"],
                condition=Q(submitted_at__isnull=False, active_seconds__isnull=False),
                name="assignment_timed",
            ),
        ]

    @property
    def labeler_state(self) -> State:
        """The state that the answer's labeler sees: "submitted" until a reviewer has decided about it.

        An answer that is not drawn for review is accepted when it is submitted. A labeler who saw that would know which
        of their answers a reviewer reads.
        """
        if self.state == State.ACCEPTED and self.decided_by_id is None:
            return State.SUBMITTED
        return State(self.state)

    def get_labeler_state_display(self) -> str:
        return str(self.labeler_state.label)


# Below every position.
START = -(2**63)


class Seat(models.Model):
    """A labeler's place in a campaign. Its row lock makes one person's claims wait for each other, in all their tabs.

    It remembers how far they have come, so that the next claim looks past all they have already answered or skipped.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="seats", db_index=False)
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="seats")
    # The queue position they reached, and how far among the slots that came back (which stand below 0).
    cursor = models.BigIntegerField(default=-1)
    returned = models.BigIntegerField(default=START)
    # The languages they have looked through so far.
    languages = models.JSONField(default=list)
    # Nothing behind the cursor is left for them. Whatever puts slots there says so by clearing it.
    searched = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["campaign", "labeler"], name="seat_once")]


class Draft(models.Model):
    """What a labeler has typed for a task. It outlives the lease, the browser and the skip."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="drafts")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="drafts")
    body = models.JSONField(help_text=_("the form's fields as the browser sent them"))
    saved_at = models.DateTimeField()
    # What stood here before, where the window that saved this had not seen it; see leases.save_draft.
    unseen: dict[str, Any] | None = None

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "labeler"], name="draft_once")]

    @property
    def version(self) -> str:
        """Tells this text from what another window saved before or after it."""
        return self.saved_at.isoformat()


class Sitting(models.Model):
    """One opening of a task's page and the active seconds it has told of. A labeler's answer took the sum of theirs."""

    # Drawn by the page. Its reports are totals, so a repeated or overtaken one counts once.
    id = models.UUIDField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="sittings")
    labeler = models.ForeignKey(User, on_delete=models.PROTECT, related_name="sittings")
    reported = models.FloatField()
    # Of these, what is counted: never more than had passed since the labeler's stopwatch.
    seconds = models.FloatField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seconds__gte=0, reported__gte=F("seconds")), name="sitting_counts_some")
        ]
        indexes = [models.Index(fields=["task", "labeler"], name="sitting_of_task")]


class Stopwatch(models.Model):
    """Up to when a labeler's time is counted. One second of theirs is never counted in two tabs or for two tasks."""

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

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="events", db_index=False)
    move = models.CharField(max_length=16, choices=Move.choices)
    # Nobody: the sweep, or the engine itself.
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    at = models.DateTimeField()
    # What the row loses by the move, such as whose lease expired or the answer that a later one replaces.
    detail = models.JSONField(default=dict, db_default={})

    class Meta:
        indexes = [models.Index(fields=["assignment", "id"], name="event_history")]
