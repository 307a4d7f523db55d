from django import template
from django.utils.formats import number_format

from exports.agreement.bootstrap import Estimate

register = template.Library()


@register.inclusion_tag("exports/_interval.html")
def interval(estimate: Estimate) -> dict[str, object]:
    """In percent, also drawn on a line from 0 to 100."""
    return {
        "value": _percent(estimate.value),
        "low": _percent(estimate.low),
        "high": _percent(estimate.high),
        # Texts, because SVG takes no decimal comma. At 100 the mark must not leave the line.
        "at": _place(None if estimate.value is None else min(estimate.value, 0.992)),
        "start": _place(estimate.low),
        "width": _place((estimate.high or 0) - (estimate.low or 0)),
    }


@register.filter
def coefficient(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    value = number_format(round(estimate.value, 2), 2)
    if estimate.low is None or estimate.high is None:
        return value
    low, high = number_format(round(estimate.low, 2), 2), number_format(round(estimate.high, 2), 2)
    return f"{value} ({low}\N{NO-BREAK SPACE}–\N{NO-BREAK SPACE}{high})"


def _percent(share: float | None) -> str:
    return "" if share is None else number_format(round(share * 100, 1), 1)


def _place(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.2f}"
