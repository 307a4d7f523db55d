"""Pages for the browser tests of what all rooms share: the board, the drafts, the frame. No room, no database."""

import json
from itertools import cycle
from types import SimpleNamespace
from uuid import uuid4

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template import RequestContext, Template
from django.template.loader import render_to_string
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie

from tests.lib.markdown_texts import TEXTS as KEPT
from tests.pages.conftest import told

FRAME = """{% extends "base.html" %}{% load static %}
{% block title %}A test{% endblock %}{% block heading %}A test{% endblock %}{% block main_class %}wide{% endblock %}
{% block content %}
<form method="post" data-submit-shortcut data-draft-url="/draft">{% csrf_token %}
FORM
{% include "parts/save_state.html" %}
<div class="actionbar"><p class="missing" data-incomplete hidden></p><button type="submit">Submit</button></div>
</form>
<div data-renew-url="/renew" data-renew-seconds="1"></div>
<button type="button" hx-get="/part" hx-target="#part" data-key="x">Load</button><div id="part"></div>
{% if sent %}<pre id="sent">{{ sent }}</pre>{% endif %}
{% endblock %}
{% block scripts %}SCRIPTS{% endblock %}"""
SCRIPT = """<script type="module" src="{% static 'js/NAME.js' %}"></script>"""

WRITING = """
<div data-preview-url="/preview" data-text-write="Write" data-text-preview="Preview" data-text-failed="No preview.">
<div class="field"><label for="id_text">Answer</label>
<textarea id="id_text" name="text" rows="4" data-count="count">{{ text }}</textarea></div></div>
<p id="count" data-text="{words} words, {characters} characters" data-most="20"></p>
<fieldset class="choices"><legend>Reasons</legend>
<label><input type="checkbox" name="reasons" value="unclear"> Unclear</label>
<label><input type="checkbox" name="reasons" value="unsafe"> Unsafe</label></fieldset>
<div data-pairs data-most="4">{% for number in "12" %}
<fieldset class="pair" data-pair><legend>Pair <span data-pair-number>{{ number }}</span></legend>
<div class="field"><label for="query-{{ number }}">Query</label>
<textarea id="query-{{ number }}" name="query"></textarea></div>
<div class="field"><label for="response-{{ number }}">Response</label>
<textarea id="response-{{ number }}" name="response"></textarea></div>
<button type="button" class="quiet small" data-pair-remove hidden>Remove</button></fieldset>{% endfor %}
<button type="submit" name="more_pairs" class="outline" data-pair-add>Add a pair</button></div>
"""

ANSWERING = """
<input type="hidden" name="submit_key" value="{{ key }}">
<div data-answer><label for="id_text">Answer</label><textarea id="id_text" name="text" rows="4"></textarea></div>
{% include "desk/_hand_in.html" with page="/task" %}
"""

PROSE = """{% for text in texts %}<article data-source>
{% include "parts/prose.html" with text=text of=forloop.counter only %}</article>{% endfor %}"""

TEXTS = (
    "Because air scatters blue light.",
    "Line one\nLine two <script>alert(1)</script>",
    "A long one. " * 300,
    "",
    "No.",
)


def _page(request: HttpRequest, form: str, scripts: tuple[str, ...] = (), **context: object) -> HttpResponse:
    source = FRAME.replace("FORM", form).replace("SCRIPTS", "".join(SCRIPT.replace("NAME", name) for name in scripts))
    sent = {name: values for name, values in request.POST.lists() if name != "csrfmiddlewaretoken"}
    context["sent"] = json.dumps(sent) if request.method == "POST" else ""
    return HttpResponse(Template(source).render(RequestContext(request, context)))


def board(request: HttpRequest) -> HttpResponse:
    """Five candidates, or `?k=`; with `?refused` as the server sends an incomplete ranking back."""
    errors = ["Rate it."] if "refused" in request.GET else []
    candidates = [
        SimpleNamespace(letter=letter, text=text, finish_note="", rating="", place="", errors=errors)
        for letter, text in zip("ABCDEFGHI"[: int(request.GET.get("k", 5))], cycle(TEXTS))
    ]
    return _page(request, '{% include "parts/ranking_board.html" %}', ("draft",), candidates=candidates)


def writing(request: HttpRequest) -> HttpResponse:
    return _page(request, WRITING, ("draft", "lease", "count", "preview", "pairs"), text=request.POST.get("text", ""))


def task(request: HttpRequest) -> HttpResponse:
    """A task's form, as templates/desk/task.html has it."""
    request.user = _somebody()  # type: ignore[assignment]
    source = FRAME.replace("FORM", ANSWERING).replace("{% if sent %}", '{% include "parts/outbox.html" %}{% if sent %}')
    source = source.replace("<form ", '<form action="/submit" data-hand-in="Frogs" data-page="/task" ')
    scripts = "".join(SCRIPT.replace("NAME", name) for name in ("submit", "draft"))
    context = {"key": uuid4()}
    return HttpResponse(Template(source.replace("SCRIPTS", scripts)).render(RequestContext(request, context)))


def elsewhere(request: HttpRequest) -> HttpResponse:
    """Another of a labeler's pages."""
    request.user = _somebody()  # type: ignore[assignment]
    return _page(request, '{% include "parts/outbox.html" %}')


def _somebody() -> SimpleNamespace:
    return SimpleNamespace(is_authenticated=True, pk=told.person, role="", username="ada", name="Ada")


def submit(request: HttpRequest) -> HttpResponse:
    if request.headers["Accept"].startswith("text/html"):
        return _page(request, "<p>What the plain form gets</p>")
    if request.headers["X-Person"] != str(told.person):
        return _failing(403)
    told.submits.append(request.POST.dict())
    return JsonResponse({"next": "/elsewhere"}) if told.submit == 200 else _failing(told.submit)


def draft(request: HttpRequest) -> HttpResponseBase:
    if told.draft != 200:
        return _failing(told.draft)
    told.drafts.append(json.loads(request.body)["body"])
    return JsonResponse({"saved_at": "2026-01-01T00:00:00Z"})


def renew(request: HttpRequest) -> HttpResponse:
    return _failing(told.renew)


def _failing(status: int) -> HttpResponse:
    if status == 302:
        return HttpResponse(status=302, headers={"Location": "/account/login/?next=/draft"})
    return JsonResponse({"words": "Your time is over."}, status=status)


def preview(request: HttpRequest) -> HttpResponse:
    return HttpResponse(render_to_string("desk/_preview.html", {"text": request.POST["text"]}))


def prose(request: HttpRequest) -> HttpResponse:
    """Every text of tests/lib/markdown_texts.py, or that of `?text=`."""
    request.user = _somebody()  # type: ignore[assignment]
    texts = [request.GET["text"]] if "text" in request.GET else [source for source, _seen in KEPT.values()]
    return _page(request, PROSE, texts=texts)


def part(request: HttpRequest) -> HttpResponse:
    if told.part == 200:
        return HttpResponse("loaded <script>document.title = 'run'</script>")
    return _failing(told.part)


urlpatterns = [
    path("", writing, name="home"),
    path("board", ensure_csrf_cookie(board)),
    path("task", task),
    path("elsewhere", elsewhere),
    path("submit", submit),
    path("draft", draft),
    path("renew", renew),
    path("preview", preview),
    path("part", part),
    path("prose", prose),
    path("account/", include("allauth.account.urls")),
]
