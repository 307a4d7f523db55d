"""What is constant in a template is worked out once."""

import subprocess
import sys

import pytest
from django.template import Context, Engine
from django.template.base import TextNode
from django.templatetags.i18n import TranslateNode
from django.templatetags.static import StaticNode

from annotate.launch.bootstrap import ROOT


@pytest.fixture
def load(tmp_path):
    def loaded(text, *, debug=False, **others):
        for name, content in {"page": text, **others}.items():
            (tmp_path / name).write_text(content)
        sources = ["django.template.loaders.filesystem.Loader"]
        libraries = {"i18n": "django.templatetags.i18n", "static": "django.templatetags.static"}
        return Engine(
            dirs=[str(tmp_path)],
            loaders=[("annotate.lib.templates.Loader", sources)],
            libraries=libraries,
            builtins=list(libraries.values()),
            debug=debug,
        ).get_template("page")

    return loaded


def test_words_and_addresses_become_one_text(load):
    page = load('<p>{% translate "Work &amp; rest" %}</p>{% static "css/base.css" %}')
    assert [type(node) for node in page.nodelist] == [TextNode]
    assert page.render(Context()) == "<p>Work &amp; rest</p>/static/css/base.css"


def test_percent_signs_and_whole_sentences_stay_what_they_are(load):
    page = load('{% translate "100%" %} {% blocktranslate trimmed %}\n  Of all\n answers.\n{% endblocktranslate %}')
    assert len(page.nodelist) == 1
    assert page.render(Context()) == "100% Of all answers."


@pytest.mark.parametrize(
    "text",
    [
        "{% translate word %}",
        '{% translate "A"|lower %}',
        '{% translate "A" as said %}{{ said|lower }}',
        "{% blocktranslate %}{{ word }}{% endblocktranslate %}",
        "{% blocktranslate count n=n %}one{% plural %}{{ n }}{% endblocktranslate %}",
        '{% static word as at %}{% if at %}{% static "x.css" as where %}{{ where|slice:":2" }}{% endif %}',
    ],
)
def test_what_a_visitor_changes_is_left_alone(load, text):
    seen = [load(text).render(Context({"word": word, "n": n})) for word, n in (("a", 1), ("b", 2), ("a", 1))]
    plain = [
        load(text, debug=True).render(Context({"word": word, "n": n})) for word, n in (("a", 1), ("b", 2), ("a", 1))
    ]
    assert seen == plain


def test_what_stands_inside_is_folded_too(load):
    inside = (
        '{% if a %}{% translate "yes" %}{% else %}{% for b in c %}{% translate "no" %}{{ b }}{% endfor %}{% endif %}'
    )
    page = load(
        f'{{% extends "base" %}}{{% block main %}}{inside}{{% endblock %}}', base="<{% block main %}{% endblock %}>"
    )
    assert not page.nodelist.get_nodes_by_type(TranslateNode)
    assert [page.render(Context({"a": a, "c": "xy"})) for a in (True, False)] == ["<yes>", "<noxnoy>"]


def test_while_somebody_works_on_a_template_it_stays_as_written(load):
    page = load('{% translate "A" %}{% static "x.css" %}', debug=True)
    assert page.nodelist.get_nodes_by_type((TranslateNode, StaticNode))


def test_where_there_are_languages_words_are_looked_up(load, settings):
    settings.USE_I18N = True
    assert load('{% translate "Monday" %}').nodelist.get_nodes_by_type(TranslateNode)


WITHOUT_ROOM = """
import resource
import annotate.wsgi
from django.template import engines, loader
from django.template.backends.django import get_template_tag_modules

list(get_template_tag_modules())  # imported, by whatever needs them: to look for them then fails in silence
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
try:
    loader.get_template("base.html")
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(engines["django"].from_string("{% load i18n %}with tags").render())
"""


def test_a_web_process_without_room_for_another_file_recovers():
    """Django looks for the tags of templates once in the life of a process, and a page must not spoil that."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_ROOM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["Too many open files", "with tags"], done.stderr
