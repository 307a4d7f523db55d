"""{% load annotate %}: what the pages of every room share."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.template import Context, Template
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.urls import resolve, reverse
from django.utils.timezone import now, override

from annotate.accounts.models import Role, User
from annotate.lib.templatetags.annotate import NAVIGATION, ago
from annotate.work.models import Campaign
from annotate.work.states import CampaignState


def page(path: str, role: Role = Role.LABELER) -> HttpRequest:
    request = RequestFactory().get(path)
    request.user = User(username="ada", role=role)
    return request


def rendered(source: str, **context: object) -> str:
    return Template("{% load annotate %}" + source).render(Context(context))


def test_every_role_has_its_items() -> None:
    assert set(NAVIGATION) == set(Role.values)


@pytest.mark.parametrize("role", Role.values)
def test_every_item_leads_to_a_page_whose_door_lets_the_role_in(role: str) -> None:
    for name, _label in NAVIGATION[role]:
        assert role in resolve(reverse(name)).func.door  # type: ignore[attr-defined]


def test_a_moment_is_told_by_the_servers_clock_and_for_the_readers() -> None:
    at = datetime(2030, 1, 31, 22, 30, tzinfo=UTC)
    with override("Europe/Berlin"):
        assert rendered("{{ at|moment }}", at=at) == (
            '<time datetime="2030-01-31T23:30:00+01:00" data-moment="">Jan. 31, 2030, 11:30 p.m.</time>'
        )
        assert rendered("{{ at|moment:'time' }}", at=at) == (
            '<time datetime="2030-01-31T23:30:00+01:00" data-moment="time">11:30 p.m.</time>'
        )
    assert rendered("{{ at|moment|default:'never' }}", at=None) == "never"


def test_a_state_is_a_word_and_a_colour() -> None:
    campaign = Campaign(state=CampaignState.PAUSED)
    assert rendered("{% state_badge row %}", row=campaign) == ('<span class="badge" data-state="paused">Paused</span>')


def test_the_name_of_a_state_is_escaped() -> None:
    row = SimpleNamespace(state='"><b>', get_state_display=lambda: "<b>")
    assert "<b>" not in rendered("{% state_badge row %}", row=row)


def test_markdown_is_safe_in_a_template() -> None:
    assert rendered("{{ text|markdown:2 }}", text="# a <b>") == '<h2 dir="auto">a &lt;b&gt;</h2>\n'


def test_the_pagination_keeps_the_search() -> None:
    request = page("/studio/pools/?q=a%26b&page=3")
    html = render_to_string("parts/pagination.html", {"page": Paginator(range(250), 25).get_page(3)}, request=request)
    assert '<span class="page num" aria-current="page">3</span>' in html
    assert 'href="?q=a%26b&amp;page=4"' in html
    assert "51–75 of 250" in html


def test_one_page_needs_no_pagination() -> None:
    request = page("/studio/pools/")
    html = render_to_string("parts/pagination.html", {"page": Paginator(range(25), 25).get_page(1)}, request=request)
    assert html.strip() == ""


@pytest.mark.urls("tests.lib.navigation_urls")
@pytest.mark.parametrize(
    ("path", "current"),
    [("/desk/", "/desk/"), ("/desk/tasks/5/", "/desk/"), ("/desk/answers/", "/desk/answers/"), ("/", "")],
)
def test_the_current_item_is_the_one_that_leads_furthest(path: str, current: str) -> None:
    html = rendered(
        "{% navigation as items %}{% for i in items %}{{ i.url }}={{ i.current }} {% endfor %}", request=page(path)
    )
    assert [item for item in html.split() if item.endswith("=True")] == ([f"{current}=True"] if current else [])


@pytest.mark.urls("tests.lib.navigation_urls")
def test_a_labeler_is_shown_no_way_into_the_studio() -> None:
    html = rendered("{% navigation as items %}{% for i in items %}{{ i.url }} {% endfor %}", request=page("/"))
    assert html.split() == ["/desk/", "/desk/answers/"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")],
)
def test_a_duration_is_as_exact_as_a_reader_cares(seconds: float | None, shown: str) -> None:
    assert Template("{% load annotate %}{{ seconds|duration }}").render(Context({"seconds": seconds})) == shown


def test_the_first_minute_is_just_now() -> None:
    assert ago(now()) == ago(now() - timedelta(seconds=58)) == "just now"


def test_later_it_is_a_number_of_minutes_hours_or_days() -> None:
    assert ago(now() - timedelta(minutes=5, seconds=1)) == "5\xa0minutes ago"
    assert ago(now() - timedelta(days=2, minutes=1)).endswith(" ago")


def test_the_label_and_the_alignment_of_a_column_reach_its_cells() -> None:
    table = '{% column "n" label num=True %}{% for n in "12" %}<td {% cell "n" %}>{{ n }}</td>{% endfor %}'
    cells = '<td class="num" data-label="A &amp; B">1</td><td class="num" data-label="A &amp; B">2</td>'
    assert rendered(table, label="A & B") == f'<th class="num" scope="col">A &amp; B</th>{cells}'


def test_a_column_for_screen_readers_and_a_cell_with_a_class_of_its_own() -> None:
    hidden = '{% column "actions" "Actions" hidden=True %}<td {% cell "actions" "said" %}>'
    heading = '<th scope="col"><span class="visually-hidden">Actions</span></th>'
    assert rendered(hidden) == f'{heading}<td class="said" data-label="Actions">'
