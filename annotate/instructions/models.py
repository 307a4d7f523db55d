from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.pools.models import Category, Kind, Pool, Prompt
from annotate.work.models import Assignment, CampaignSettings, Task


class InstructionSettings(CampaignSettings):
    target_pool = models.ForeignKey(
        Pool, on_delete=models.PROTECT, related_name="+", verbose_name=_("pool for accepted instructions")
    )
    rewrite_pool = models.BooleanField(_("rewrite the pool's prompts"), default=True)


class Brief(models.Model):
    """A request for a new instruction. A task without a brief asks for an edit of its prompt."""

    task = models.OneToOneField(Task, on_delete=models.PROTECT, related_name="brief")
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    use_case = models.TextField(_("use case"), blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="brief_kind_known"),
            models.CheckConstraint(
                condition=~Q(kind=Kind.USER_BASED) | ~Q(use_case=""), name="brief_user_based_has_a_use_case"
            ),
        ]


class Reason(models.TextChoices):
    """Why a labeler edited an instruction."""

    UNCLEAR = "unclear", _("The request was unclear")
    UNDERSPECIFIED = "underspecified", _("Necessary information was missing")
    TOO_EASY = "too_easy", _("Too easy, or too similar to others")
    UNSAFE = "unsafe", _("Unsafe, or contains personal data")
    LANGUAGE = "language", _("Spelling, grammar or style")
    OTHER = "other", _("Another reason")


class Instruction(models.Model):
    """A new instruction or an edit. It becomes a prompt when it is accepted."""

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="instruction")
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    text = models.TextField(_("instruction"))
    # Few-shot only: [{"query": ..., "response": ...}, ...], at least two.
    pairs = models.JSONField(default=list)
    category = models.CharField(_("use case"), max_length=16, choices=Category.choices, blank=True)
    # Edits only: codes of Reason.
    reasons = models.JSONField(default=list)
    note = models.TextField(_("note"), blank=True)
    written_at = models.DateTimeField()
    prompt = models.OneToOneField(Prompt, on_delete=models.PROTECT, null=True, related_name="written_as")
    # Why it did not become a prompt. A text in use on the other side of the split becomes a prompt in quarantine.
    refusal = models.TextField(blank=True)
    duplicate_of = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(text=""), name="instruction_not_empty"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="instruction_kind_known"),
        ]
        indexes = [
            models.Index(fields=["assignment"], condition=Q(prompt=None, refusal=""), name="instruction_waiting"),
        ]
