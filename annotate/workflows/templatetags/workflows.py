from collections.abc import Mapping

from django import template

from annotate.work.models import Campaign
from annotate.work.workflow import Words
from annotate.workflows.table import workflow_of

register = template.Library()


@register.filter
def workflow_label(campaign: Campaign) -> Words:
    return workflow_of(campaign).label


@register.filter
def untitled(campaign: Campaign) -> Words:
    """The title of a task without a prompt."""
    return workflow_of(campaign).untitled


@register.filter
def of(values: Mapping[object, object], key: object) -> object:
    return values.get(key, "")
