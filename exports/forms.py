from collections.abc import Iterable

from django import forms
from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.lib.addresses import id_in
from annotate.work.models import Campaign
from exports import queries
from exports.agreement.pairs import TieRule
from exports.agreement.queries import Covered, NotMeasurable, check_measurable, measurable_campaigns

TIE_RULES = (
    (TieRule.EXCLUDE.value, _("are not counted")),
    (TieRule.HALF.value, _("count one half if only one labeler ties them")),
    (TieRule.STRICT.value, _("agree only if both labelers tie them")),
)


class OpenedCampaigns(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Tells drafts from missing campaigns in its error."""

    def _check_values(self, value: Iterable[object]) -> QuerySet[Campaign]:
        try:
            return super()._check_values(value)  # type: ignore[misc, no-any-return]
        except forms.ValidationError:
            for draft in Campaign.objects.filter(id__in=filter(None, map(id_in, map(str, value))), opened_at=None):
                raise forms.ValidationError(queries.unanswered(draft)) from None
            raise


class MeasurableCampaign(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Tells campaigns without agreement from missing ones in its error."""

    def to_python(self, value: object) -> Model | None:
        try:
            return super().to_python(value)
        except forms.ValidationError:
            number = id_in(str(value))
            other = Campaign.objects.filter(id=number).first() if number else None
            if other is None:
                raise
            try:
                check_measurable(other)
            except NotMeasurable as refused:
                raise forms.ValidationError(str(refused)) from refused
            return other


class ExportForm(forms.Form):
    campaigns = OpenedCampaigns(
        queryset=queries.exportable_campaigns(),
        label=_("Campaigns"),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("The export also contains the customers' prompts of their pools, for reinforcement learning."),
        error_messages={"required": _("Choose at least one campaign.")},
    )


class AgreementForm(forms.Form):
    """Sent by GET, so that people can share the link."""

    campaign = MeasurableCampaign(queryset=measurable_campaigns(), label=_("Campaign"), empty_label=None)
    ties = forms.ChoiceField(choices=TIE_RULES, label=_("Tied pairs"))
    answers = forms.ChoiceField(choices=Covered.choices, label=_("Rankings"))
