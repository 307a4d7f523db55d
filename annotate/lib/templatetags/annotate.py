from dataclasses import dataclass
from datetime import datetime, timedelta

from django import template
from django.core.paginator import Page
from django.db.models import Model
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

# This package must not import those above it, so it names addresses.
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
    return mail.is_set_up()


@register.filter
def markdown(text: str, top_heading: int = 3) -> SafeString:
    return markup.render(text or "", top_heading=top_heading)


@register.filter
def as_written(text: str) -> SafeString:
    return markup.as_written(text or "")


@register.filter
def short(text: object, length: int) -> SafeString:
    """The `bdi` keeps the text from reordering its row.

    `truncatechars` normalizes the whole text, which takes minutes for 200,000 marks on one character.
    """
    whole = str(text)
    beginning = whole if len(whole) <= length else f"{whole[: cut_before(whole, length - 1)]}…"
    return format_html("<bdi>{}</bdi>", markup.visible(beginning))


@register.filter
def visible(text: object) -> SafeString:
    return markup.visible(str(text))


@register.simple_tag
def difference(piece: Piece) -> SafeString:
    if piece.op == Op.ADDED:
        return format_html("<ins>{}</ins>", markup.changed(piece.text))
    if piece.op == Op.REMOVED:
        return format_html("<del>{}</del>", markup.changed(piece.text))
    return markup.visible(piece.text)


@register.filter
def ago(moment: datetime) -> str:
    if now() - moment < timedelta(minutes=1):
        return gettext("just now")
    return gettext("%(time)s ago") % {"time": timesince(moment)}


@register.filter
def blank(text: str) -> bool:
    return is_blank(text)


@register.filter
def moment(at: datetime | None, what: str = "") -> SafeString | str:
    """js/times.js shows local time."""
    if at is None:
        return ""
    local = localtime(at)
    shown = formats.time_format(local) if what == "time" else formats.date_format(local, "DATETIME_FORMAT")
    return format_html('<time datetime="{}" data-moment="{}">{}</time>', local.isoformat(), what, shown)


@register.filter
def duration(seconds: float | None) -> str:
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
def state_badge(row: Model, field: str = "state") -> SafeString:
    return format_html(
        '<span class="badge" data-state="{}">{}</span>',
        getattr(row, field),
        getattr(row, f"get_{field}_display")(),
    )


@register.simple_tag(takes_context=True)
def column(context: template.Context, name: str, label: str, num: bool = False, hidden: bool = False) -> SafeString:
    """Define a table's column for `cell`. `hidden`: for screen readers only.

    An included template has a context of its own: define a column before the include to share columns with it.
    """
    if _COLUMNS not in context:
        context[_COLUMNS] = {}
    context[_COLUMNS][name] = (label, num)
    shown = format_html('<span class="visually-hidden">{}</span>', label) if hidden else label
    return format_html('<th {}scope="col">{}</th>', _class_attribute("num" if num else ""), shown)


@register.simple_tag(takes_context=True)
def cell(context: template.Context, name: str, css_class: str = "") -> SafeString:
    """On a narrow screen each row is a card that shows these labels."""
    label, num = context[_COLUMNS][name]
    return format_html('{}data-label="{}"', _class_attribute(css_class or ("num" if num else "")), label)


def _class_attribute(css_class: str) -> SafeString:
    return format_html('class="{}" ', css_class) if css_class else SafeString("")


@register.simple_tag
def page_numbers(page: "Page[object]") -> list[int | str]:
    return list(page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))


@register.simple_tag(takes_context=True)
def navigation(context: template.Context) -> list[Item]:
    request: HttpRequest = context["request"]
    links = [(reverse(name), label) for name, label in NAVIGATION.get(getattr(request.user, "role", ""), ())]
    here = max((url for url, _label in links if request.path.startswith(url)), key=len, default="")
    return [Item(url, label, url == here) for url, label in links]
