"""What one request may spend on texts: no text and no pair of texts, typed or stored, holds it up."""

import random
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template

from annotate.lib import markdown
from annotate.lib.budget import UNITS_PER_REQUEST, left, request_budget, spend
from annotate.lib.diff import MAX_DIFF_UNITS, Op, word_diff
from bench import rendering

# The limit is 500 ms. Found texts take up to 200 ms and differences 60 ms where nothing else runs.
LONGEST_MS = 500
# Calls that Python makes for each unit of the estimate; the same on every machine. Found: up to 7.
CALLS_PER_UNIT = 10


def calls(text: str) -> int:
    """How many functions rendering `text` calls: the same at each run, unlike the time."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        markdown._rendered(text, 3)
    finally:
        sys.setprofile(None)
    return count


def test_work_is_begun_while_it_fits():
    assert spend(10**9)
    assert left() == float("inf")
    with request_budget(10):
        assert spend(7)
        assert not spend(4)
        assert spend(3)
        assert left() == 0
        with request_budget(5):
            assert spend(5)
        assert not spend(1)
    assert spend(10**9)


@pytest.mark.parametrize("seed", range(4))
def test_no_text_takes_more_than_its_estimate(seed):
    """A short search for the text with the most calls for its estimate; bench/rendering.py is the long one."""
    rng = random.Random(seed)
    found = rendering.slowest_text(rng, 60, lambda text: calls(text[:2_000]) / markdown.cost(text[:2_000]))
    short, long = rendering.filled(found, 2_000), rendering.filled(found, 20_000)
    assert calls(short) < CALLS_PER_UNIT * markdown.cost(short) + 200
    assert calls(long) < CALLS_PER_UNIT * markdown.cost(long) + 200
    slowest = rendering.longest_rendered(found)
    assert rendering.cpu(lambda: rendering.page(rendering.page_of(slowest)), 3) < LONGEST_MS


@pytest.mark.parametrize("seed", range(4))
def test_no_pair_of_texts_takes_long_to_compare(seed):
    pair = rendering.slowest_pair(random.Random(seed), 40, (500, 5_000, 20_000, 80_000, 400_000))
    assert rendering.cpu(lambda: word_diff(*pair), 3) < LONGEST_MS


# 3,600 of the characters that are shown as their codes, each once.
EVERY_KIND = "".join(map(chr, range(0xE01F0, 0xE1000)))


@pytest.mark.parametrize("show", [markdown.as_written, markdown.visible, markdown.render])
@pytest.mark.parametrize(
    "unit",
    [
        "\u200b",
        "a\u200b",
        "\u200b\u202e\u2060\x01\x97\U000e0041",
        "&",
        "\r",
        "\n",
        "é ",
        "&\u200b<\n",
        "א\u200f",
        EVERY_KIND,
    ],
)
def test_ten_long_texts_are_written_in_time(show, unit):
    texts = [rendering.filled(unit, 200_000 - number) for number in range(10)]

    def page() -> None:
        with request_budget():
            for text in texts:
                show(text)

    assert rendering.cpu(page, 3) < LONGEST_MS


def test_the_beginning_of_a_text_takes_no_longer_than_its_length():
    marks = "a" + "\u0301\u0316" * 100_000
    template = Template("{% load annotate %}{{ text|short:80 }}")
    assert rendering.cpu(lambda: template.render(Context({"text": marks})), 3) < LONGEST_MS
    assert Template("{% load annotate %}{{ text|short:4 }}").render(Context({"text": "<abcd"})) == "<bdi>&lt;ab…</bdi>"
    assert Template("{% load annotate %}{{ text|short:4 }}").render(Context({"text": "abcd"})) == "<bdi>abcd</bdi>"


def test_no_page_composes_a_whole_text_to_show_its_beginning():
    """`truncatechars` takes minutes for a text of marks that follow one another."""
    pages = Path(settings.BASE_DIR, "templates").rglob("*.html")
    assert [page.name for page in pages if "truncate" in page.read_text()] == []


def test_a_page_compares_what_fits_and_shows_the_rest_as_replaced():
    old, new = "a b c d " * 500, "a b x d " * 500
    with request_budget(2 * MAX_DIFF_UNITS + 2):
        first, second, third = (word_diff(old, new) for _ in range(3))
        assert word_diff(old, old)[0].op == Op.SAME
    assert first == second == word_diff(old, new)
    assert [(piece.op, piece.text) for piece in third] == [(Op.REMOVED, old), (Op.ADDED, new)]
    assert 2 * MAX_DIFF_UNITS < UNITS_PER_REQUEST
