"""What a manager types about a campaign, turned into the values that create_campaign and change_campaign take."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.accounts import queries as accounts
from annotate.accounts.models import Cohort, Qualification
from annotate.guidelines.models import Guideline
from annotate.pools.models import Pool
from annotate.samples.models import Policy
from annotate.work.models import Campaign, Workflow
from annotate.work.refusals import NobodyMayWork, OrderFixed
from annotate.work.rules import CHANGEABLE
from annotate.work.states import CampaignState

# The fields that only one kind of work has; all others belong to every campaign.
ONLY = {
    Workflow.DEMONSTRATIONS: frozenset[str](),
    Workflow.RANKINGS: frozenset({"slate_min", "slate_max", "policies"}),
    Workflow.EDITS: frozenset({"rewrite_pool", "target_pool"}),
}


# How the fields stand together on a page.
GROUPS = (
    (_("What"), ("name", "pool", "guideline", "rewrite_pool", "target_pool", "slate_min", "slate_max", "policies")),
    (_("Who"), ("cohorts", "labelers", "qualifications")),
    (_("Answers and order"), ("overlap", "order", "order_seed")),
    (_("Time, skips and review"), ("lease_minutes", "undo_minutes", "skip_limit", "review_percent")),
)


class CampaignForm(forms.ModelForm):  # type: ignore[type-arg]
    """The fields that fit the campaign's kind of work and that its state lets change."""

    cohorts = forms.MultipleChoiceField(
        label=_("Cohorts"),
        choices=Cohort.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Every labeler of these cohorts may work in it. Answers of held-out labelers are never exported."),
    )

    class Meta:
        model = Campaign
        fields = [
            "name",
            "pool",
            "rewrite_pool",
            "target_pool",
            "slate_min",
            "slate_max",
            "policies",
            "guideline",
            "overlap",
            "order",
            "order_seed",
            "cohorts",
            "labelers",
            "qualifications",
            "review_percent",
            "lease_minutes",
            "skip_limit",
            "undo_minutes",
        ]
        widgets = {
            "policies": forms.CheckboxSelectMultiple,
            "labelers": forms.CheckboxSelectMultiple,
            "qualifications": forms.CheckboxSelectMultiple,
        }
        help_texts = {
            "name": _("Labelers see it in their list of work."),
            "guideline": _("Labelers acknowledge its latest published version before their first task."),
            "overlap": _(
                "How many different labelers answer each task; two or more let agreement be measured. It can be raised"
                " and lowered later, for the tasks that are there too: what somebody holds or has answered stays."
            ),
            "order": _("Tasks that came back go first, whatever the order."),
            "order_seed": _("Only for the random order: the same seed gives the same order."),
            "qualifications": _("Only labelers who hold all of these may work in it."),
            "skip_limit": _("After this many skips a task is paused for your decision. 0: never."),
            "undo_minutes": _("How long a labeler may take back their last answer. 0: a submit is final."),
            "review_percent": _(
                "This share of the answers, drawn at random, counts when a reviewer accepts it. The others count"
                " at once."
            ),
            "lease_minutes": _("How long a task stays with a labeler who left the page, before another may take it."),
            "labelers": _("If you name people, only they may work in it, whatever their cohort."),
            "slate_min": _("A ranking task opens as soon as a prompt has this many different completions, from 4."),
            "slate_max": _("More than this are not shown in one task, up to 9."),
            "policies": _("Whose completions may be ranked. None chosen: those of every policy."),
            "rewrite_pool": _("Every prompt of the pool is to be rewritten. Without it only briefs are answered."),
            "target_pool": _("An accepted instruction becomes a prompt of this pool, with its lineage."),
        }

    def __init__(self, *args: Any, workflow: Workflow, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        draft = self.instance.state == CampaignState.DRAFT
        for name in list(self.fields):
            of_others = any(name in names for kind, names in ONLY.items() if kind != workflow)
            if of_others or not (draft or name in CHANGEABLE):
                del self.fields[name]
        querysets = {
            "pool": Pool.objects.order_by("name"),
            "target_pool": Pool.objects.order_by("name"),
            "guideline": Guideline.objects.order_by("name"),
            "policies": Policy.objects.order_by("name", "revision"),
            "labelers": accounts.labelers(),
            "qualifications": Qualification.objects.order_by("name"),
        }
        for name, rows in querysets.items():
            if name in self.fields:
                self.fields[name].queryset = rows  # type: ignore[attr-defined]
        if "target_pool" in self.fields:
            self.fields["target_pool"].required = True
        if self.instance._state.adding:
            self.initial["cohorts"] = [Cohort.TRAINING]
        elif "order" in self.fields and self.instance.tasks.exists():
            for name in ("order", "order_seed"):
                self.fields[name].disabled = True
                self.fields[name].help_text = OrderFixed.message

    def groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """The fields that are there, under the titles of GROUPS."""
        found = [(title, [self[name] for name in names if name in self.fields]) for title, names in GROUPS]
        return [(title, fields) for title, fields in found if fields]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        fewest, most = values.get("slate_min"), values.get("slate_max")
        if fewest and most and fewest > most:
            self.add_error("slate_max", _("It cannot be less than the fewest candidates."))
        cohorts = values.get("cohorts", self.instance.cohorts)
        if not {"cohorts", "labelers"} & set(self.errors) and not cohorts and not values["labelers"]:
            where = "cohorts" if "cohorts" in self.fields else "labelers"
            self.add_error(where, str(NobodyMayWork.message))
        return values
