from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from exports.agreement.bootstrap import Estimate


@dataclass(frozen=True)
class Published:
    """ties: the tie rule of the source."""

    who: Promise | str
    rate: Estimate
    ties: Promise | str
    source: str


NOT_STATED = _("not stated")
PUBLISHED = (
    Published(_("InstructGPT, training labelers"), Estimate(0.726, 0.711, 0.741), NOT_STATED, "arXiv 2203.02155, 3.4"),
    Published(_("InstructGPT, held-out labelers"), Estimate(0.773, 0.760, 0.786), NOT_STATED, "arXiv 2203.02155, 3.4"),
    Published(_("Learning to summarize, researchers"), Estimate(0.73, 0.69, 0.77), NOT_STATED, "arXiv 2203.02155, 3.4"),
    Published(_("WebGPT, labelers"), Estimate(0.73), _("count one half"), "arXiv 2112.09332, C"),
    Published(_("Helpful and Harmless, workers and researchers"), Estimate(0.63), NOT_STATED, "arXiv 2204.05862"),
)
