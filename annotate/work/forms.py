"""What a manager types about a campaign, turned into the values that create_campaign and change_campaign take."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.accounts import queries as accounts
from annotate.accounts.models import Cohort, Qualification
from annotate.guidelines.models import Guideline
from annotate.pools.models import Pool
from annotate.work.models import Campaign
from annotate.work.refusals import NobodyMayWork, OrderFixed
from annotate.work.rules import CHANGEABLE
from annotate.work.states import CampaignState

# The groups of fields on a page.
GROUPS = (
    (_("What"), ("name", "pool", "guideline")),
    (_("Who"), ("cohorts", "labelers", "qualifications")),
    (_("Answers and order"), ("overlap", "order", "order_seed")),
    (_("Time, skips and review"), ("lease_minutes", "undo_minutes", "skip_limit", "review_percent")),
)


class CampaignForm(forms.ModelForm):  # type: ignore[type-arg]
    """The fields that every campaign has and that its state allows to change."""

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
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        draft = self.instance.state == CampaignState.DRAFT
        for name in list(self.fields):
            if not (draft or name in CHANGEABLE):
                del self.fields[name]
        querysets = {
            "pool": Pool.objects.order_by("name"),
            "guideline": Guideline.objects.order_by("name"),
            "labelers": accounts.labelers(),
            "qualifications": Qualification.objects.order_by("name"),
        }
        for name, rows in querysets.items():
            if name in self.fields:
                self.fields[name].queryset = rows  # type: ignore[attr-defined]
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
        cohorts = values.get("cohorts", self.instance.cohorts)
        if not {"cohorts", "labelers"} & set(self.errors) and not cohorts and not values["labelers"]:
            where = "cohorts" if "cohorts" in self.fields else "labelers"
            self.add_error(where, str(NobodyMayWork.message))
        return values
