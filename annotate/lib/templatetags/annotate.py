"""Template tags and filters for all pages: {% load annotate %}."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.core.paginator import Page
from django.http import HttpRequest
from django.urls import reverse
from django.utils import formats
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.timezone import localtime, now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.lib import mail
from annotate.lib import markdown as markup
from annotate.lib.diff import Op, Piece
from annotate.lib.text import cut_before, is_blank

register = template.Library()

_COLUMNS = "columns_of_the_table"

Items = tuple[tuple[str, Promise | str], ...]

# By role, in the order of the header. Only names of addresses: this package must not import the packages above it.
NAVIGATION: dict[str, Items] = {
    "labeler": (("desk:home", _("Work")), ("desk:answers", _("My answers"))),
    "reviewer": (("studio:review", _("Review")),),
    "manager": (
        ("studio:pools", _("Pools")),
        ("studio:guidelines", _("Guidelines")),
        ("studio:campaigns", _("Campaigns")),
        ("studio:policies", _("Policies")),
        ("studio:runs", _("Sampling")),
        ("studio:review", _("Review")),
        ("studio:people", _("People")),
        ("exports:agreement", _("Agreement")),
        ("exports:exports", _("Exports")),
    ),
}


@dataclass(frozen=True)
class Item:
    url: str
    label: Promise | str
    current: bool


@register.simple_tag
def mail_is_set_up() -> bool:
    """Whether this platform sends mail."""
    return mail.is_set_up()


@register.filter
def markdown(text: str, top_heading: int = 3) -> SafeString:
    """`{{ text|markdown }}`, or `{{ text|markdown:2 }}` if its headings are directly below the page's heading."""
    return markup.render(text or "", top_heading=top_heading)


@register.filter
def as_written(text: str) -> SafeString:
    """`{{ text|as_written }}`: the text unrendered, every character of it, in a `pre`."""
    return markup.as_written(text or "")


@register.filter
def short(text: object, length: int) -> SafeString:
    """`{{ text|short:80 }}`: the beginning of a text, at most 80 characters.

    The text has its own direction and shows codes as `visible` does, so that it cannot change how its row reads.
    Not Django's `truncatechars`: it normalises the whole text, which takes minutes for 200,000 marks on one character.
    """
    whole = str(text)
    beginning = whole if len(whole) <= length else f"{whole[: cut_before(whole, length - 1)]}…"
    return format_html("<bdi>{}</bdi>", markup.visible(beginning))


@register.filter
def visible(text: object) -> SafeString:
    """`{{ text|visible }}`: the text, with a code in place of each invisible character."""
    return markup.visible(str(text))


@register.simple_tag
def difference(piece: Piece) -> SafeString:
    """`{% difference piece %}`: one piece of a word diff. White space that was added or removed is made visible."""
    if piece.op == Op.ADDED:
        return format_html("<ins>{}</ins>", markup.changed(piece.text))
    if piece.op == Op.REMOVED:
        return format_html("<del>{}</del>", markup.changed(piece.text))
    return markup.visible(piece.text)


@register.filter
def ago(moment: datetime) -> str:
    """`{{ answer.submitted_at|ago }}`: "5 minutes ago", and "just now" in the first minute."""
    if now() - moment < timedelta(minutes=1):
        return gettext("just now")
    return gettext("%(time)s ago") % {"time": timesince(moment)}


@register.filter
def blank(text: str) -> bool:
    """`{% if text|blank %}`: whether the text has no visible character."""
    return is_blank(text)


@register.filter
def moment(at: datetime | None, what: str = "") -> SafeString | str:
    """`{{ row.created_at|moment }}`, or `|moment:"time"` for the time alone. js/times.js shows it in local time."""
    if at is None:
        return ""
    local = localtime(at)
    shown = formats.time_format(local) if what == "time" else formats.date_format(local, "DATETIME_FORMAT")
    return format_html('<time datetime="{}" data-moment="{}">{}</time>', local.isoformat(), what, shown)


@register.filter
def duration(seconds: float | None) -> str:
    """`{{ answer.active_seconds|duration }}`: such as 48 s, 3 min 20 s or 1 h 5 min."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return gettext("%(seconds)d s") % {"seconds": rest}
    if minutes < 60:
        return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}
    hours, minutes = divmod(minutes, 60)
    return gettext("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}


@register.simple_tag
def state_badge(row: Any, field: str = "state") -> SafeString:
    """`{% state_badge row %}`: a row's state by name, with its colour. `field`: another field with choices."""
    return format_html(
        '<span class="badge" data-state="{}">{}</span>',
        getattr(row, field),
        getattr(row, f"get_{field}_display")(),
    )


@register.simple_tag(takes_context=True)
def column(context: template.Context, name: str, label: str, num: bool = False, hidden: bool = False) -> SafeString:
    """`{% column "labeler" _("Labeler") %}`: the heading of a table's column, for the `cell` tags below it.

    `num` aligns numbers. `hidden` leaves the label to screen readers. Columns in an included template work when a
    column of the including template comes first: an include has a context of its own, which ends with it.
    """
    if _COLUMNS not in context:
        context[_COLUMNS] = {}
    context[_COLUMNS][name] = (label, num)
    shown = format_html('<span class="visually-hidden">{}</span>', label) if hidden else label
    return format_html('<th {}scope="col">{}</th>', _class_attribute("num" if num else ""), shown)


@register.simple_tag(takes_context=True)
def cell(context: template.Context, name: str, css_class: str = "") -> SafeString:
    """`<td {% cell "labeler" %}>`: the attributes of a cell in the column `name`.

    The label is an attribute because on a narrow screen each row is a card, with the label beside each value.
    """
    label, num = context[_COLUMNS][name]
    return format_html('{}data-label="{}"', _class_attribute(css_class or ("num" if num else "")), label)


def _class_attribute(css_class: str) -> SafeString:
    return format_html('class="{}" ', css_class) if css_class else SafeString("")


@register.simple_tag
def page_numbers(page: "Page[Any]") -> list[int | str]:
    """The page numbers to show: the ends and the neighbours of this page, with an ellipsis in each gap."""
    return list(page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))


@register.simple_tag(takes_context=True)
def navigation(context: template.Context) -> list[Item]:
    """The items of the logged-in person. The one with the longest address that starts this page's is current."""
    request: HttpRequest = context["request"]
    links = [(reverse(name), label) for name, label in NAVIGATION.get(getattr(request.user, "role", ""), ())]
    here = max((url for url, _label in links if request.path.startswith(url)), key=len, default="")
    return [Item(url, label, url == here) for url, label in links]
