import re

from annotate.lib.markdown.characters import escaped
from annotate.lib.markdown.estimate import MAX_DEPTH
from annotate.lib.markdown.inline import inline_html

# Possessive quantifiers prevent backtracking.
START = re.compile(
    r" {0,3}+(?:(?P<fence>`{3,}+(?=[^`]*+\Z)|~{3,}+)"
    r"|(?P<heading>\#{1,6}+)[ \t]++(?=\S)"
    r"|(?P<quote>>)\ (?=[ \t]*+\S)"
    r"|(?P<bullet>[-*+])[ \t]++(?=\S)"
    r"|(?P<number>[0-9]{1,9}+[.)])[ \t]++(?=\S))"
)
QUOTED = re.compile(r" {0,3}+>(?: |\Z)")
DASHES = re.compile(r" {0,3}+\|?+[ \t]*+:?+-++:?+[ \t]*+(?:\|[ \t]*+:?+-++:?+[ \t]*+)*+\|?+[ \t]*+\Z")
PIPE = re.compile(r"(?<!\\)\|")


class Page:
    def __init__(self, top_heading: int) -> None:
        self.top_heading = top_heading
        self.html: list[str] = []
        self.outline: list[int] = []

    def add_blocks(self, lines: list[str], *, depth: int, label: str = "", own: bool = False) -> None:
        """`label`: HTML before the first paragraph. `own`: the first block that is not code has no `dir`, so that the
        block around it takes its direction.
        """
        if label and (not lines or self._start(lines, 0, depth) or _is_code(lines[0])):
            self.html.append(f"<p>{label}</p>")
            label = ""
        at = 0
        while at < len(lines):
            if _is_blank(lines[at]):
                at += 1
                continue
            direction = "" if own else ' dir="auto"'
            start = self._start(lines, at, depth)
            code = start["fence"] if isinstance(start, re.Match) else not start and _is_code(lines[at])
            own = own and bool(code)
            if start:
                at = self._add_block(start, lines, at, depth, direction)
            elif _is_code(lines[at]):
                at = self._add_indented_code(lines, at)
            else:
                at = self._add_paragraph(lines, at, depth, label, direction)
            label = ""

    def _start(self, lines: list[str], at: int, depth: int) -> "re.Match[str] | str | None":
        line = lines[at]
        start = START.match(line)
        if start and (depth < MAX_DEPTH or start["fence"] or start["heading"]):
            return start
        if "|" in line and at + 1 < len(lines) and _is_table(line, lines[at + 1]):
            return "table"
        return None

    def _add_block(self, start: "re.Match[str] | str", lines: list[str], at: int, depth: int, direction: str) -> int:
        if isinstance(start, str):
            return self._add_table(lines, at, direction)
        if start["fence"]:
            return self._add_fence(start, lines, at)
        if start["heading"]:
            return self._add_heading(start, lines, at, direction)
        if start["quote"]:
            return self._add_quote(lines, at, depth, direction)
        return self._add_list(start, lines, at, depth, direction)

    def _add_paragraph(self, lines: list[str], at: int, depth: int, label: str, direction: str) -> int:
        end = at + 1
        while end < len(lines) and not _is_blank(lines[end]) and not self._start(lines, end, depth):
            end += 1
        self.html.append(f"<p{direction}>{label}{inline_html(lines[at:end])}</p>\n")
        return end

    def _add_heading(self, start: "re.Match[str]", lines: list[str], at: int, direction: str) -> int:
        written = len(start["heading"])
        while self.outline and self.outline[-1] >= written:
            self.outline.pop()
        self.outline.append(written)
        tag = f"h{min(self.top_heading + len(self.outline) - 1, 6)}"
        self.html.append(f"<{tag}{direction}>{inline_html([lines[at][start.end() :]])}</{tag}>\n")
        return at + 1

    def _add_fence(self, start: "re.Match[str]", lines: list[str], at: int) -> int:
        fence = start["fence"]
        end = next((n for n in range(at + 1, len(lines)) if _closes(fence, lines[n])), None)
        info = (lines[at] if end is None else lines[at][start.end() :]).strip(" \t")
        small = f"<small>{escaped(info)}</small>" if info else ""
        code = "".join(f"{line}\n" for line in lines[at + 1 : end])
        self.html.append(f'<pre class="fenced" dir="ltr">{small}<code dir="ltr">{escaped(code)}</code></pre>\n')
        return len(lines) if end is None else end + 1

    def _add_indented_code(self, lines: list[str], at: int) -> int:
        end = at
        for number in range(at, len(lines)):
            if _is_code(lines[number]):
                end = number + 1
            elif not _is_blank(lines[number]):
                break
        code = "\n".join(lines[at:end])
        self.html.append(f'<pre dir="ltr"><code dir="ltr">{escaped(code)}\n</code></pre>\n')
        return end

    def _add_quote(self, lines: list[str], at: int, depth: int, direction: str) -> int:
        quoted = []
        while at < len(lines) and (mark := QUOTED.match(lines[at])):
            quoted.append(lines[at][mark.end() :])
            at += 1
        bare = 0
        while _is_blank(quoted[-1]):
            quoted.pop()
            bare += 1
        self.html.append(f"<blockquote{direction}>")
        self.add_blocks(quoted, depth=depth + 1, own=True)
        self.html.append("</blockquote>\n")
        for number in range(at - bare, at):
            self.html.append(f"<p>{escaped(lines[number])}</p>\n")
        return at

    def _add_list(self, start: "re.Match[str]", lines: list[str], at: int, depth: int, direction: str) -> int:
        kind = "ol" if start["number"] else "ul"
        self.html.append(f"<{kind}>")
        following: re.Match[str] | None = start
        while following:
            at = self._add_item(following, lines, at, depth, direction)
            direction = ' dir="auto"'
            while at < len(lines) and _is_blank(lines[at]):
                at += 1
            following = START.match(lines[at]) if at < len(lines) else None
            if following and not following["number" if kind == "ol" else "bullet"]:
                following = None
        self.html.append(f"</{kind}>\n")
        return at

    def _add_item(self, start: "re.Match[str]", lines: list[str], at: int, depth: int, direction: str) -> int:
        line = lines[at]
        marker = start["number"] or start["bullet"]
        before = line.index(marker)
        width = len(line[: start.end()].expandtabs(4))
        first = line[start.end() :]
        if width > before + len(marker) + 4:  # indented code
            width = before + len(marker) + 1
            first = line[width:]
        inner = [first]
        blank = 0
        at += 1
        while at < len(lines):
            if _is_blank(lines[at]):
                blank += 1
            elif _indentation(lines[at]) > before:
                inner += [""] * blank
                blank = 0
                inner.append(_outdented(lines[at], width))
            else:
                break
            at += 1
        label = f'<span class="number">{marker} </span>' if start["number"] else ""
        numbered = ' class="numbered"' if label else ""
        self.html.append(f"<li{numbered}{direction}>")
        self.add_blocks(inner, depth=depth + 1, label=label, own=True)
        self.html.append("</li>\n")
        return at - blank

    def _add_table(self, lines: list[str], at: int, direction: str) -> int:
        classes = [_alignment(cell) for cell in _cells(lines[at + 1])]
        self.html.append(f'<div class="wide-table"{direction} tabindex="0"><table><thead>')
        self._add_row("th", lines[at], classes, first="")
        self.html.append("</thead><tbody>")
        at += 2
        while at < len(lines) and "|" in lines[at] and not START.match(lines[at]):
            self._add_row("td", lines[at], classes)
            at += 1
        self.html.append("</tbody></table></div>\n")
        return at

    def _add_row(self, tag: str, line: str, classes: list[str], first: str = ' dir="auto"') -> None:
        self.html.append("<tr>")
        direction = first
        for number, cell in enumerate(_cells(line)):
            aligned = classes[number] if number < len(classes) else ""
            self.html.append(f"<{tag}{direction}{aligned}>{inline_html([cell])}</{tag}>")
            direction = ' dir="auto"'
        self.html.append("</tr>\n")


def _is_blank(line: str) -> bool:
    return not line.strip(" \t")


def _is_code(line: str) -> bool:
    return line.startswith(("    ", "\t", " \t", "  \t", "   \t")) and not _is_blank(line)


def _closes(fence: str, line: str) -> bool:
    run = line.strip(" \t")
    return len(run) >= len(fence) and run == fence[0] * len(run) and not _is_code(line)


def _indentation(line: str) -> int:
    if "\t" not in line:
        return len(line) - len(line.lstrip(" "))
    lead = line[: len(line) - len(line.lstrip(" \t"))]
    return len(lead.expandtabs(4))


def _outdented(line: str, columns: int) -> str:
    lead = line[: len(line) - len(line.lstrip(" \t"))]
    return " " * max(0, len(lead.expandtabs(4)) - columns) + line[len(lead) :]


def _is_table(head: str, dashes: str) -> bool:
    return bool(
        "|" in dashes and DASHES.match(dashes) and not _is_code(head) and len(_cells(head)) == len(_cells(dashes))
    )


def _cells(line: str) -> list[str]:
    row = line.strip(" \t").removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip(" \t") for cell in PIPE.split(row)]


def _alignment(dashes: str) -> str:
    if not dashes.endswith(":"):
        return ""
    return ' class="to-center"' if dashes.startswith(":") else ' class="to-right"'
