import re
from html import escape

from annotate.lib.markdown.characters import NOT_IN_ADDRESSES, escaped

LINK = re.compile(r"(?:https?://|mailto:)[^\s<>\"]", re.IGNORECASE)
MARK = re.compile(
    r"(?P<ticks>`++)|(?P<stars>\*++)"
    r"|(?<!!)\[(?P<words>[^\[\]]*+)\]\((?P<url>[^\s()<>\"]++(?:\([^\s()<>\"]*+\)[^\s()<>\"]*+){0,3}+)"
    r"(?P<title>[ ]\"[^\"]*+\")?+\)"
    r"|<(?P<auto>(?:https?://|mailto:)[^\s<>\"]++)>"
)
ANY_MARK = re.compile(r"[*`]|\]\(|<http|<mailto:")
TICKS = re.compile(r"`++")
LETTER = re.compile(r"[^\W\d_]")
# Characters next to emphasis: BEFORE and AFTER outside of the words, FIRST and LAST inside.
BEFORE = re.compile(r"[\s(\[{\"'“‘«„:,;.!?…—–\-、。，：；！？（「『《]")
FIRST = re.compile(r"[\w(\[{\"'“‘«„`$#@&.\-（「『《]")
LAST = re.compile(r"[^\s(\[{“‘«„*（「『《]")
AFTER = re.compile(r"[\s)\]}\"'”’»:,;.!?…—–\-、。，：；！？）」』》]")
# No spaces around words: `**` is emphasis, but a single star may multiply.
CJK = re.compile("[\u2e80-\u2fff\u3040-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
EMPHASIS = {1: ("<em>", "</em>"), 2: ("<strong>", "</strong>"), 3: ("<strong><em>", "</em></strong>")}


def inline_html(lines: list[str]) -> str:
    text = "\n".join(lines)
    if not ANY_MARK.search(text):
        return escaped(text)
    return "\n".join([_line(line) if ANY_MARK.search(line) else escaped(line) for line in lines])


def _line(line: str, links: bool = True) -> str:
    """Emphasis nests, and each length of stars is open at most once."""
    html: list[str] = []
    opened: list[tuple[int, int, int]] = []  # number of stars, place in html, place in line
    closing = _closing_ticks(line)
    at = 0
    while mark := MARK.search(line, at):
        html.append(escaped(line[at : mark.start()]))
        at = mark.end()
        if mark["ticks"]:
            if end := closing.get(mark.start()):
                html.append(f'<code dir="ltr">{escaped(line[at:end])}</code>')
                at = end + at - mark.start()
            else:
                html.append(mark[0])
        elif mark["stars"]:
            _add_stars(line, mark, html, opened)
        else:
            html.append(_link(mark) if links else escaped(mark[0]))
    html.append(escaped(line[at:]))
    return "".join(html)


def _closing_ticks(line: str) -> dict[int, int]:
    closing: dict[int, int] = {}
    last: dict[int, int] = {}
    for run in TICKS.finditer(line):
        length = run.end() - run.start()
        if length in last:
            closing[last[length]] = run.start()
        last[length] = run.start()
    return closing


def _add_stars(line: str, mark: "re.Match[str]", html: list[str], opened: list[tuple[int, int, int]]) -> None:
    start, end = mark.span()
    length = end - start
    html.append(mark[0])
    if length not in EMPHASIS:
        return
    before, after = line[start - 1 : start] if start else "", line[end : end + 1]
    if LAST.match(before) and _is_outside(AFTER, after, length):
        for number, (stars, place, began) in enumerate(opened):
            if stars == length:
                # Single stars without a letter between may multiply. No span is searched twice.
                if length > 1 or LETTER.search(line, began, start):
                    html[place], html[-1] = EMPHASIS[length]
                del opened[number:]
                return
    if FIRST.match(after) and _is_outside(BEFORE, before, length):
        opened[:] = [entry for entry in opened if entry[0] != length]
        opened.append((length, len(html) - 1, end))


def _is_outside(pattern: "re.Pattern[str]", character: str, length: int) -> bool:
    return not character or bool(pattern.match(character) or (length > 1 and CJK.match(character)))


def _link(mark: "re.Match[str]") -> str:
    url = mark["auto"] or mark["url"]
    if not LINK.match(url) or NOT_IN_ADDRESSES.search(url):
        return escaped(mark[0])
    anchor = f'<a href="{escape(url)}">'
    if mark["auto"]:
        return f"&lt;{anchor}{escaped(url)}</a>&gt;"
    if not mark["words"].strip():
        return escaped(mark[0])
    return f"{anchor}{_line(mark['words'], links=False)}</a> ({escaped(url)}{escaped(mark['title'] or '')})"
