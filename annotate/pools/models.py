from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models.functions import Left
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User


class Kind(models.TextChoices):
    """From InstructGPT (arXiv 2203.02155, A.1)."""

    PLAIN = "plain", _("Plain")
    FEW_SHOT = "few_shot", _("Few-shot")
    USER_BASED = "user_based", _("User-based")


class Source(models.TextChoices):
    LABELER = "labeler", _("Labeler")
    CUSTOMER = "customer", _("Customer")


class Category(models.TextChoices):
    """From InstructGPT (A.2)."""

    GENERATION = "generation", _("Generation")
    OPEN_QA = "open_qa", _("Open QA")
    CLOSED_QA = "closed_qa", _("Closed QA")
    BRAINSTORMING = "brainstorming", _("Brainstorming")
    CHAT = "chat", _("Chat")
    REWRITING = "rewriting", _("Rewriting")
    SUMMARIZATION = "summarization", _("Summarization")
    CLASSIFICATION = "classification", _("Classification")
    EXTRACTION = "extraction", _("Extraction")
    OTHER = "other", _("Other")


class Split(models.TextChoices):
    TRAIN = "train", _("Train")
    VALID = "valid", _("Valid")


class QuarantineReason(models.TextChoices):
    EQUAL_TEXT = "equal_text", _("An equal prompt is on the other side of the split")
    EQUAL_EXAMPLE = "equal_example", _("A few-shot example on the other side of the split is equal")
    OTHER_SIDE = "other_side", _("The other prompts of its customer or writer are on the other side of the split")


class QuarantineMove(models.TextChoices):
    QUARANTINE = "quarantine", _("put into quarantine")
    KEEP = "keep", _("kept in quarantine")
    RELEASE = "release", _("released")


class Pool(models.Model):
    name = models.CharField(_("name"), max_length=120, unique=True)
    description = models.TextField(_("description"), blank=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class PromptGroup(models.Model):
    """Prompts that stay on one side of the split. A trigger prevents changes of the side."""

    key = models.CharField(max_length=300, unique=True)
    split = models.CharField(max_length=8, choices=Split.choices)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(split__in=Split.values), name="promptgroup_split_known")
        ]

    def __str__(self) -> str:
        return self.key


MAX_PRIORITY = 1000


class Prompt(models.Model):
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="prompts")
    group = models.ForeignKey(PromptGroup, on_delete=models.PROTECT, related_name="prompts")
    messages = models.JSONField(help_text=_("a list of {role, content}; the last one is the user's"))
    # Few-shot only: {"instruction", "pairs": [{"query", "response"}]}.
    shots = models.JSONField(null=True)
    # {field of the file: value}. Labelers never see them.
    reference = models.JSONField(_("reference answer"), null=True)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    source = models.CharField(_("source"), max_length=16, choices=Source.choices)
    source_user = models.CharField(_("source user"), max_length=200, blank=True)
    category = models.CharField(_("use case"), max_length=16, choices=Category.choices, blank=True)
    language = models.CharField(_("language"), max_length=16, default="en")
    licence = models.CharField(_("licence"), max_length=100, blank=True)
    external_id = models.CharField(_("id in its source"), max_length=200, blank=True)
    text = models.TextField()
    search = models.GeneratedField(
        # PostgreSQL limits an index entry to about a megabyte.
        expression=SearchVector(Left("text", 100_000), config="simple"),
        output_field=SearchVectorField(),
        db_persist=True,
    )
    content_hash = models.CharField(max_length=64, help_text=_("sha256 of the normalised messages"))
    # The prompt that this one edits, and its writer.
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="edits")
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="prompts_written")
    # Authors of this prompt and its ancestors do not get it as a task.
    authors = ArrayField(models.BigIntegerField(), default=list)
    # Higher comes first in campaigns that use priorities.
    priority = models.SmallIntegerField(_("priority"), default=0)
    created_at = models.DateTimeField()
    # Prompts in quarantine get into no sampling, task or export.
    quarantined_at = models.DateTimeField(null=True)
    quarantine_reason = models.CharField(
        max_length=16, choices=QuarantineReason.choices, blank=True, default="", db_default=""
    )
    quarantine_twin = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")
    # The manager who keeps it in quarantine.
    quarantine_decided_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    quarantine_decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=Kind.values), name="prompt_kind_known"),
            models.CheckConstraint(
                condition=models.Q(
                    quarantined_at=None,
                    quarantine_reason="",
                    quarantine_twin=None,
                    quarantine_decided_by=None,
                    quarantine_decided_at=None,
                )
                | (
                    models.Q(quarantined_at__isnull=False, quarantine_reason__in=QuarantineReason.values)
                    & (
                        models.Q(quarantine_decided_by=None, quarantine_decided_at=None)
                        | models.Q(quarantine_decided_by__isnull=False, quarantine_decided_at__isnull=False)
                    )
                ),
                name="prompt_quarantine_columns_agree",
            ),
            models.CheckConstraint(
                condition=~models.Q(quarantine_twin=models.F("id")), name="prompt_quarantine_twin_is_another"
            ),
            models.CheckConstraint(condition=models.Q(source__in=Source.values), name="prompt_source_known"),
            models.CheckConstraint(
                condition=models.Q(category="") | models.Q(category__in=Category.values), name="prompt_category_known"
            ),
            models.CheckConstraint(
                condition=models.Q(shots=None) | models.Q(kind=Kind.FEW_SHOT), name="prompt_shots_only_few_shot"
            ),
            models.CheckConstraint(
                condition=models.Q(priority__gte=-MAX_PRIORITY, priority__lte=MAX_PRIORITY),
                name="prompt_priority_in_range",
            ),
            # A duplicate would be labeled twice.
            models.UniqueConstraint(fields=["pool", "content_hash"], name="prompt_once_in_pool"),
        ]
        indexes = [
            # Equal prompts on the other side of the split.
            models.Index(fields=["content_hash"], name="prompt_content_hash"),
            models.Index(
                fields=["pool", "quarantined_at"],
                condition=models.Q(quarantined_at__isnull=False),
                name="prompt_quarantined",
            ),
            # The import of completions.
            models.Index(fields=["pool", "external_id"], name="prompt_external_id"),
            GinIndex(fields=["search"], name="prompt_search"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class ExampleText(models.Model):
    """Hashes of a few-shot prompt's training examples, except of the one that equals the prompt."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="example_texts")
    content_hash = models.CharField(max_length=64, help_text=_("as Prompt.content_hash"))

    class Meta:
        constraints = [models.UniqueConstraint(fields=["prompt", "content_hash"], name="exampletext_once_a_prompt")]
        indexes = [models.Index(fields=["content_hash"], name="exampletext_content_hash")]


class QuarantineEvent(models.Model):
    """A trigger prevents changes."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="quarantine_events")
    move = models.CharField(max_length=16, choices=QuarantineMove.choices)
    reason = models.CharField(max_length=16, choices=QuarantineReason.choices)
    # This prompt may be deleted, so there is no foreign key.
    twin_id = models.BigIntegerField(null=True)
    # None: an import or a command.
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(move__in=QuarantineMove.values, reason__in=QuarantineReason.values),
                name="quarantineevent_move_and_reason_known",
            )
        ]


class ImportKind(models.TextChoices):
    PROMPTS = "prompts", _("Prompts")
    COMPLETIONS = "completions", _("Completions")


class ImportState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    # A manager must confirm that fields with text are dropped.
    ASKING = "asking", _("Needs your decision")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


ENDED = (ImportState.DONE, ImportState.FAILED, ImportState.CANCELLED)


class ImportJob(models.Model):
    """Rows contain the file, so that any worker can continue."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="imports")
    kind = models.CharField(max_length=16, choices=ImportKind.choices)
    file_name = models.CharField(max_length=255)
    defaults = models.JSONField(default=dict)
    ignored_fields = models.JSONField(default=list)
    # A manager decided to drop these.
    ignore = models.JSONField(default=list)
    # No line is imported before the whole file is checked.
    checked = models.BooleanField(default=False)
    # [{"name", "lines", "examples"}].
    losses = models.JSONField(default=list)
    state = models.CharField(max_length=16, choices=ImportState.choices, default=ImportState.WAITING)
    leased_until = models.DateTimeField(null=True)
    lines_total = models.PositiveIntegerField(default=0)
    lines_done = models.PositiveIntegerField(default=0)
    taken = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    # Prompts of unnamed customers.
    nobodys = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0, db_default=0)
    error = models.TextField(blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=ImportState.values), name="importjob_state_known"),
            models.CheckConstraint(
                condition=models.Q(
                    state__in=[ImportState.WAITING, ImportState.ASKING], leased_until=None, finished_at=None
                )
                | models.Q(state=ImportState.RUNNING, leased_until__isnull=False, finished_at=None)
                | models.Q(state__in=ENDED, leased_until=None, finished_at__isnull=False),
                name="importjob_state_and_columns_agree",
            ),
        ]
        indexes = [
            # Jobs without a worker.
            models.Index(
                fields=["leased_until"],
                condition=models.Q(state__in=[ImportState.WAITING, ImportState.RUNNING]),
                name="importjob_due",
            )
        ]

    @property
    def percent(self) -> int:
        return 100 * self.lines_done // self.lines_total if self.lines_total else 0

    @property
    def unused_fields(self) -> list[str]:
        """Fields without text need no decision."""
        return [name for name in self.ignored_fields if name not in self.ignore]


class ImportChunk(models.Model):
    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="importchunk_once")]


class ImportLine(models.Model):
    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="lines")
    number = models.PositiveIntegerField()
    # The new prompt, or the equal one of a duplicate.
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="+")
    refusal = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="importline_once")]
        indexes = [models.Index(fields=["job", "number"], condition=~models.Q(refusal=""), name="importline_refused")]
