"""Every visible character of a text is seen in its rendered view, in order, but the marks that the module names."""

from collections import Counter
from html.parser import HTMLParser

import pytest
from django.template.loader import render_to_string
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.lib.budget import CODES_PER_REQUEST, request_budget
from annotate.lib.markdown import as_written, changed, render, visible
from annotate.lib.markdown.characters import CONTROLS, HIDDEN, MAX_CODES, hidden_in
from annotate.lib.markdown.plain import MAX_ASCII_LINE, MAX_LINE, PIECE
from annotate.lib.templatetags.annotate import short
from tests.lib.markdown_texts import TEXTS

MARKS = "#*`~>-+|:[]"
BLOCKS = {"blockquote", "div", "h2", "h3", "h4", "h5", "h6", "li", "p", "pre", "small", "table", "tr"}


class Seen(HTMLParser):
    """The text of the page, with a newline around each block and a space between cells."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in BLOCKS:
            self.parts.append("\n")
        elif tag in {"td", "th"}:
            self.parts.append(" ")

    def handle_endtag(self, tag):
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data):
        self.parts.append(data)


def seen(html: str) -> str:
    parser = Seen()
    parser.feed(html)
    parser.close()
    return "".join(parser.parts)


def solid(text: str) -> str:
    return "".join(text.split())


def with_codes(text: str) -> str:
    return hidden_in(text).sub(lambda found: f"U+{ord(found[0]):04X}", text.replace("\r\n", "\n").replace("\r", "\n"))


def kept(text: str) -> None:
    """Fails unless what is seen is the text, but for marks."""
    source, shown = solid(with_codes(text)), solid(seen(render(text)))
    rest = iter(source)
    assert all(character in rest for character in shown), "something was added or changed its place"
    lost = Counter(source) - Counter(shown)
    assert set(lost) <= set(MARKS), lost
    assert solid(seen(as_written(text))) == source


@pytest.mark.parametrize(("source", "shown"), TEXTS.values(), ids=TEXTS.keys())
def test_a_reader_sees_what_was_written(source, shown):
    lines = [line.rstrip() for line in seen(render(source)).split("\n") if line.strip()]
    wanted = [line.rstrip() for line in (source if shown is None else shown).split("\n") if line.strip()]
    assert [line.lstrip() for line in lines] == [line.lstrip() for line in wanted]
    kept(source)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("def f(x):\n    if x:\n        return 1\n\n    return 2", None),
        ("    x = 1\n        y = 2", None),
        ("while x:\n\ty()\n\t\tz()", None),
        ("Text:\n  one\n    two", None),
        ("- name: a\n  values:\n      b: 1", "name: a\nvalues:\n    b: 1"),
        ("1.      five spaces", "1.\n     five spaces"),
        ("> def f():\n>     return 1", "def f():\n    return 1"),
    ],
)
def test_the_indentation_of_code_is_seen(source, shown):
    lines = [line.rstrip() for line in seen(render(source)).split("\n") if line.strip()]
    assert lines == [line for line in (shown or source).splitlines() if line.strip()]


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
fragments = st.sampled_from(
    [
        *"*`_~[]()<>|#-+\\&:.!$\"' \n\tax1א文",
        *("**", "***", "``", "```", "~~~", "> ", ">", "- ", "1. ", "12) ", "# ", "## ", "    ", "\n\n", "](", "\r\n"),
        *("*a*", "**b**", "`c`", "[a](https://b.c)", '[a](https://b.c "d")', "<https://b.c>", "|a|b|\n|-|-:|\n|c|d|\n"),
        *("\n- a", "\n  - b", "\n> a", "\n```\n", "\n1. a", "\n# a\n", "&amp;", "&#65;", "\\*", "\\|", "<!-- a -->"),
        *("[a]: https://b.c\n", "\u202e", "\u200b", "---\n", "===\n", "![a](https://b.c)", "__init__", "2*3*4"),
    ]
)
texts = st.lists(st.one_of(fragments, fragments, words), max_size=40).map("".join)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_no_visible_character_is_lost_or_moved(text):
    kept(text)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters=MARKS), max_size=200))
def test_a_text_without_marks_is_shown_whole(text):
    assert solid(seen(render(text))) == solid(with_codes(text))


@given(st.lists(st.text("abé7_", min_size=1, max_size=4), min_size=2, max_size=6))
def test_stars_inside_of_words_stay(parts):
    for stars in ("*", "**", "***"):
        text = stars.join(parts)
        assert solid(seen(render(text))) == text


@given(st.lists(st.tuples(st.integers(0, 999_999_999), st.sampled_from(".)")), min_size=1, max_size=5))
def test_each_number_of_a_list_is_seen_as_it_was_written(numbers):
    source = [f"{number}{sign} item" for number, sign in numbers]
    assert [line for line in seen(render("\n".join(source))).splitlines() if line.strip()] == source


def test_what_cannot_be_seen_is_shown_by_its_code_and_reorders_nothing():
    for character in "\u202a\u202e\u2066\u2069\u200b\u00ad\ufeff\U000e0041":
        for html in (render(f"a{character}b"), render(f"`a{character}b`"), as_written(f"a{character}b")):
            assert character not in html
            assert f"<mark>U+{ord(character):04X}</mark>" in html
    # A link that contains one is no link: what is followed is what is read.
    assert "<a" not in render("[a](https://x.y/\u202egpj)")


def test_what_scripts_and_emoji_need_stays():
    text = "می\u200cخواهم 👩\u200d💻 ❤\ufe0f \u200fא\u200e"
    assert text in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "א ab ( " * 30_000,
        "\n" * 5_000 + "a" * 5_000,
        "one line\n" * 2_000,
        "a" * 1_999 + "\n" + "b" * 2_000 + "\r\n\r\nc",
    ],
    ids=["one line", "newlines first", "short lines", "at the limit"],
)
def test_a_long_text_is_written_in_pieces_that_are_the_text_together(text):
    html = as_written(text)
    assert seen(html).removeprefix("\n").removeprefix("\n").removesuffix("\n") == text.replace("\r\n", "\n")
    pieces = html.split('<span class="piece">')[1:]
    assert max(len(seen(piece)) for piece in pieces) <= PIECE + 1


@pytest.mark.parametrize(("letter", "longest"), [("a", MAX_ASCII_LINE), ("é", MAX_LINE)])
def test_a_line_that_a_browser_lays_out_slowly_is_not_formatted(letter, longest):
    assert "<strong>" in render("**a**\n\n" + letter * longest)
    assert render("**a**\n\n" + letter * (longest + 1)) == as_written("**a**\n\n" + letter * (longest + 1))


def test_such_a_line_is_in_pieces_wherever_it_is_shown():
    assert visible("é" * (MAX_LINE + 1)).count('<span class="piece">') == MAX_LINE // PIECE + 1
    assert visible("é" * MAX_LINE) == "é" * MAX_LINE


def test_a_text_full_of_invisible_characters_shows_where_they_are():
    few, many = "a\u200b\u202e" * (MAX_CODES // 2), "a\u200b\u202e" * (MAX_CODES // 2 + 1)
    for show in (visible, as_written):
        assert show(few).count("<mark>") == MAX_CODES
        assert "<mark>" not in show(many)
        assert f"a{HIDDEN}{HIDDEN}" * 20 in show(many)
        assert not CONTROLS.search(show(many))
    assert "\N{REPLACEMENT CHARACTER} stands for" in render_to_string("parts/prose.html", {"text": many})
    assert "invisible" not in render_to_string("parts/prose.html", {"text": few})


def test_the_codes_of_a_request_are_bounded_and_take_nothing_from_other_texts():
    text = "a\u200b" * MAX_CODES
    with request_budget():
        shown = [as_written(text) for _ in range(CODES_PER_REQUEST // MAX_CODES + 1)]
        assert {one.count("<mark>") for one in shown[:-1]} == {MAX_CODES}
        assert "<mark>" not in shown[-1]
        assert "<strong>" in render("**a**")
    assert as_written(text) == shown[0]


def codes(text):
    return [len(show(text).split("<mark>")) - 1 for show in (render, as_written, visible)]


@pytest.mark.parametrize("mark", ["\u200e", "\u200f", "\u061c"])
def test_a_mark_of_direction_is_seen_where_no_letter_runs_from_right_to_left(mark):
    """Chromium shows "\u200f5 - 3" as "3 - 5"."""
    assert codes(f"x = {mark}5 - 3") == codes(f"猫 {mark}5 - 3") == codes(f"`{mark}5 - 3`") == [1, 1, 1]
    for letter in "אשع\ufb1d\U0001e900":
        assert codes(f"x = {mark}5 - 3 {letter}") == [0, 0, 0]
    assert "<a" not in render(f"[a](https://b.c/{mark}d)")


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_a_joiner_is_seen_among_latin_letters(joiner):
    assert codes(f"user{joiner}name, “é” – 5 €") == [1, 1, 1]
    for letter in "אی猫हम👩가":
        assert codes(f"a{joiner}b {letter}") == [0, 0, 0]


@pytest.mark.parametrize("character", "\u034f\u115f\u1160\u17b4\u3164\uffa0\ufff0\U0001d173\U000e0080\U000e0fff")
def test_characters_that_no_font_draws_are_seen(character):
    assert codes(f"a{character}b") == [1, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "می\u200cخواهم",
            "اردو زبان میں \u200f5",
            "क्\u200dष",
            "ক্\u200dষ",
            "ന്\u200d",
            "ශ්\u200dරී",
            "العربية\u061c 5",
            "יְרוּשָׁלַ\u034fִם",
        ),
        *("ខ្ញុំ\u200bទៅ", "ภาษา\u200bไทย", "မြန်မာ\u200bစာ", "ᠪᠠᠢᠢᠨ\u180eᠠ ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ", "ᠠ\u180b"),
        *("👨‍👩‍👧‍👦", "👍🏽", "🇩🇪", "1\ufe0f\u20e3", "🏴‍☠️", "❤\ufe0f\u200d🔥"),
        *(
            f"🏴{''.join(chr(0xE0000 + ord(tag)) for tag in nation)}\U000e007f"
            for nation in ("gbeng", "gbsct", "gbwls")
        ),
    ],
)
def test_a_text_keeps_the_invisible_characters_that_its_script_needs(text):
    assert codes(text) == [0, 0, 0]
    assert all(text in show(text) for show in (render, as_written, visible))


def test_what_one_script_needs_is_seen_in_another():
    assert codes("猫\u200b") == codes("ж\u180e") == codes("ab\u200b\u05be") == codes("猫\u034f") == [1, 1, 1]
    # Tags carry hidden messages, but for the three flags that are made of them.
    assert codes("🏴" + "".join(chr(0xE0000 + ord(tag)) for tag in "gbxyz\x7f")) == [6, 6, 6]
    assert codes("a\U000e0067") == [1, 1, 1]


def test_a_title_reorders_nothing_in_its_row_and_is_cut_between_characters():
    assert short("a\u202eb", 80) == "<bdi>a<mark>U+202E</mark>b</bdi>"
    assert short("<b> कि.", 6) == "<bdi>&lt;b&gt; …</bdi>"


def test_a_change_of_line_ends_alone_is_seen():
    assert changed("  \n") == '  <span class="line-end"></span>\n'
    assert changed("a\n") == "a\n"
    assert changed("\n" * (MAX_CODES + 1)) == "\n" * (MAX_CODES + 1)


def test_texts_that_differ_in_one_invisible_character_look_different():
    shown = {
        as_written(f"a{character}b") for character in ["", *map(chr, [0x200C, 0x200D, 0x200E, 0x200F, 0x61C, 0x34F])]
    }
    assert len(shown) == 7
