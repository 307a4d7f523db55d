"""Every word shown to a person is marked for translation. Looks at the source, so that no page has to be reached."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))

# What is inside these is marked, or is not for people.
MARKED = re.compile(
    r"""{%\s*block\s+\w*class\w*\s*%}.*?{%\s*endblock\s*%}                 # names for the stylesheet
      | {%\s*blocktrans(?:late)?\b.*?{%\s*endblocktrans(?:late)?\s*%}   # marked
      | {%\s*comment\b.*?{%\s*endcomment\s*%} | {\#.*?\#} | <!--.*?-->   # for us
      | {%.*?%} | {{.*?}}                                                # tags and values
      | <(script|style|svg)\b.*?</\1> | <(kbd|code|pre)\b[^>]*>.*?</\2>
    """,
    re.DOTALL | re.VERBOSE,
)
SPOKEN = re.compile(r"""\b(?:alt|title|placeholder|aria-label|aria-description)="([^"]*)\"""")
# One letter is a key or a mark, not a word; the platform's name is the same in every language.
WORD = re.compile(r"[^\W\d_]{2,}")
NAMES = {"annotate", "html", "DOCTYPE", "SHA"}
FILE = re.compile(r"\b\w+\.(?:json|jsonl|md)\b")


def unmarked_words(source: str) -> set[str]:
    bare = MARKED.sub(" ", source)
    spoken = " ".join(SPOKEN.findall(bare))
    text = FILE.sub(" ", re.sub(r"<[^>]*>|&\w+;", " ", bare))
    return {word for word in WORD.findall(f"{text} {spoken}") if word not in NAMES}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_word_of_a_template_is_marked(path):
    assert unmarked_words(path.read_text()) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>Hello {{ name }}</p>", {"Hello"}),
        ("<p>{% translate 'Hello' %} {{ name }}</p>", set()),
        ("{% blocktranslate %}Hello {{ name }}{% endblocktranslate %}", set()),
        ('<button aria-label="Close">×</button>', {"Close"}),
        ('<button aria-label="{% translate "Close" %}">×</button>', set()),
        ("{# a note #}<kbd>Ctrl</kbd>", set()),
    ],
)
def test_the_check_itself_finds_what_is_not_marked(source, found):
    assert unmarked_words(source) == found
