"""What a manager asks for: which campaigns to export, which agreement to see."""

from django import forms
from django.utils.translation import gettext_lazy as _

from exports import queries
from exports.agreement.pairs import TieRule
from exports.agreement.queries import ranking_campaigns

TIE_RULES = (
    (TieRule.EXCLUDE.value, _("are left out")),
    (TieRule.HALF.value, _("count one half if only one says tie")),
    (TieRule.STRICT.value, _("are a third answer")),
)


class ExportForm(forms.Form):
    campaigns = forms.ModelMultipleChoiceField(
        queryset=queries.exportable_campaigns(),
        label=_("Campaigns"),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Customers' prompts of their pools go with them, for reinforcement learning."),
        error_messages={"required": _("Choose at least one campaign.")},
    )


class AgreementForm(forms.Form):
    """Sent by GET, so that what is seen can be linked to."""

    campaign = forms.ModelChoiceField(queryset=ranking_campaigns(), label=_("Campaign"), empty_label=None)
    ties = forms.ChoiceField(choices=TIE_RULES, label=_("Pairs that somebody calls a tie"))
