"""Pages for the browser tests of what all rooms share: the board, the drafts, the frame. No room, no database."""

import json
from types import SimpleNamespace

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template import RequestContext, Template
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie

from annotate.lib.markdown import render as markdown
from tests.pages.conftest import told

FRAME = """{% extends "base.html" %}{% load static %}
{% block title %}A test{% endblock %}{% block heading %}A test{% endblock %}{% block main_class %}wide{% endblock %}
{% block content %}
<form method="post" data-submit-shortcut data-draft-url="/draft">{% csrf_token %}
FORM
{% include "parts/save_state.html" %}
<div class="actionbar"><button type="submit">Submit</button></div>
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
    candidates = [
        SimpleNamespace(letter=letter, text=text, finish_note="", rating="", place="", errors=())
        for letter, text in zip("ABCDE", TEXTS, strict=True)
    ]
    return _page(request, '{% include "parts/ranking_board.html" %}', ("draft",), candidates=candidates)


def writing(request: HttpRequest) -> HttpResponse:
    return _page(request, WRITING, ("draft", "lease", "count", "preview", "pairs"), text=request.POST.get("text", ""))


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
    return HttpResponse(markdown(request.POST["text"]))


def part(request: HttpRequest) -> HttpResponse:
    if told.part == 200:
        return HttpResponse("loaded <script>document.title = 'run'</script>")
    return _failing(told.part)


urlpatterns = [
    path("", writing, name="home"),
    path("board", ensure_csrf_cookie(board)),
    path("draft", draft),
    path("renew", renew),
    path("preview", preview),
    path("part", part),
    path("account/", include("allauth.account.urls")),
]
