from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort, Qualification, Role, User
from annotate.guidelines.models import Guideline
from annotate.pools.models import Pool
from annotate.work.models import Campaign
from annotate.work.queries import may_be_named
from annotate.work.refusals import CampaignFixed, NobodyMayWork, OrderFixed
from annotate.work.rules import CHANGEABLE
from annotate.work.states import CampaignState
from annotate.work.workflow import Words

# The groups of fields on the page.
GROUPS = (
    (_("What"), ("name", "pool", "guideline")),
    (_("Who"), ("cohorts", "labelers", "qualifications")),
    (_("Answers and order"), ("overlap", "order", "order_seed")),
    (_("Time, skips and review"), ("lease_minutes", "undo_minutes", "skip_limit", "review_percent")),
)


def _name_and_state(user: User) -> str:
    if user.is_active and user.role == Role.LABELER:
        return str(user)
    return _("%(name)s (may not work now)") % {"name": user}


class CampaignForm(forms.ModelForm):  # type: ignore[type-arg]
    """The fields of every campaign. Includes only those that the campaign's state allows to change."""

    cohorts = forms.MultipleChoiceField(
        label=_("Cohorts"),
        choices=Cohort.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("All labelers of these cohorts may work here. Answers of held-out labelers are never exported."),
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
            "name": _("Labelers see this name in their list of campaigns."),
            "guideline": _("Labelers must read its latest published version before their first task."),
            "overlap": _(
                "How many different labelers answer each task. Choose 2 or more to measure agreement. You can change it"
                " later, also for existing tasks: tasks that labelers hold and answers stay."
            ),
            "order": _("Tasks that labelers returned come first in every order."),
            "order_seed": _("Used only for the random order. The same seed gives the same order."),
            "qualifications": _("Only labelers with all of these qualifications may work in the campaign."),
            "skip_limit": _("After this many skips, a task stops until you decide about it. 0 = never."),
            "undo_minutes": _("How long a labeler can undo their last submit. 0 = never."),
            "review_percent": _(
                "Reviewers decide about this percentage of the answers, drawn at random. The other answers are accepted"
                " without a review."
            ),
            "lease_minutes": _("How long a task stays reserved for a labeler who left its page."),
            "labelers": _("If you choose people here, only they may work in the campaign. Cohorts then do not matter."),
        }

    def __init__(self, data: QueryDict | None = None, *, instance: Campaign | None = None) -> None:
        super().__init__(data, instance=instance)
        draft = self.instance.state == CampaignState.DRAFT
        self._fixed = [name for name in self.fields if not (draft or name in CHANGEABLE)]
        for name in self._fixed:
            del self.fields[name]
        querysets = {
            "pool": Pool.objects.order_by("name"),
            "guideline": Guideline.objects.order_by("name"),
            "labelers": may_be_named(self.instance),
            "qualifications": Qualification.objects.order_by("name"),
        }
        for name, rows in querysets.items():
            if name in self.fields:
                self.fields[name].queryset = rows  # type: ignore[attr-defined]
        self.fields["labelers"].label_from_instance = _name_and_state  # type: ignore[attr-defined]
        if self.instance._state.adding:
            self.initial["cohorts"] = [Cohort.TRAINING]
        elif "order" in self.fields and self.instance.tasks.exists():
            for name in ("order", "order_seed"):
                self.fields[name].disabled = True
                self.fields[name].help_text = OrderFixed.message

    def groups(self) -> list[tuple[Words, list[forms.BoundField]]]:
        """The fields of this form under the titles of GROUPS."""
        groups = [(title, [self[name] for name in names if name in self.fields]) for title, names in GROUPS]
        return [(title, fields) for title, fields in groups if fields]

    def clean(self) -> dict[str, object]:
        values = super().clean() or {}
        if any(name in self.data for name in self._fixed):
            # The page was loaded before somebody opened the campaign.
            self.add_error(None, str(CampaignFixed.message))
        cohorts = values.get("cohorts", self.instance.cohorts)
        if not {"cohorts", "labelers"} & set(self.errors) and not cohorts and not values["labelers"]:
            where = "cohorts" if "cohorts" in self.fields else "labelers"
            self.add_error(where, str(NobodyMayWork.message))
        return values
