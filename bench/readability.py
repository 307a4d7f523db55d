"""How easy the code is to read, in numbers: sizes of files and functions, prose, `Any`, and long lines of templates.

    .venv/bin/python bench/readability.py

It needs no database. Prose is the words of docstrings and comments, in each 1,000 lines. Migrations and texts of the
demonstration policy do not count. The program prints one line per package, what misses its target, and one JSON line,
and ends with 1 if a target is missed.
"""

import ast
import io
import json
import statistics
import sys
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("annotate", "models_worker", "exports")
TEXTS = {"material.py", "corpus.py"}

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES_P90 = 20
MAX_TEMPLATE_LINE = 140
MAX_ANY = 6.0
MAX_PROSE = 700
# Formulas, sources, shapes and races need more words.
MAX_PROSE_OF = {"models_worker/engine": 1200, "exports/agreement": 1200, "annotate/work": 1000}

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Package:
    lines: int = 0
    words: int = 0
    uses_of_any: int = 0

    @property
    def prose(self) -> int:
        return round(1000 * self.words / self.lines)


@dataclass
class Code:
    packages: dict[str, Package] = field(default_factory=lambda: defaultdict(Package))
    files: dict[str, int] = field(default_factory=dict)
    functions: list[int] = field(default_factory=list)
    any_in_signatures_of_work: list[str] = field(default_factory=list)
    long_template_lines: list[str] = field(default_factory=list)

    @property
    def total(self) -> Package:
        every = self.packages.values()
        return Package(
            sum(package.lines for package in every),
            sum(package.words for package in every),
            sum(package.uses_of_any for package in every),
        )

    @property
    def any_per_1000(self) -> float:
        return round(1000 * self.total.uses_of_any / self.total.lines, 1)


def words_in(source: str, tree: ast.Module) -> int:
    """Words of docstrings and comments."""
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    return sum(len(text.split()) for text in docstrings + comments)


def uses_any(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(node))


def package_of(path: Path) -> str:
    """annotate/work for annotate/work/sql/queue.py; the package itself for a module at its top."""
    folders = path.relative_to(ROOT).parts[:-1]
    return "/".join(folders[:2])


def read() -> Code:
    code = Code()
    for top in PACKAGES:
        for path in sorted((ROOT / top).rglob("*.py")):
            source = path.read_text()
            if not source or "migrations" in path.parts or path.name in TEXTS:
                continue
            tree, name = ast.parse(source), str(path.relative_to(ROOT))
            package = code.packages[package_of(path)]
            code.files[name] = len(source.splitlines())
            package.lines += code.files[name]
            package.words += words_in(source, tree)
            package.uses_of_any += sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree))
            for node in ast.walk(tree):
                if isinstance(node, FUNCTIONS):
                    code.functions.append((node.end_lineno or 0) - node.lineno + 1)
                    signature = [node.args, *([node.returns] if node.returns else [])]
                    if package_of(path) == "annotate/work" and any(uses_any(part) for part in signature):
                        code.any_in_signatures_of_work.append(f"{name}:{node.lineno}")
    for path in sorted((ROOT / "templates").rglob("*.html")):
        lines = enumerate(path.read_text().splitlines(), start=1)
        code.long_template_lines += [f"{path.name}:{n}" for n, line in lines if len(line) > MAX_TEMPLATE_LINE]
    return code


def p90(values: list[int]) -> int:
    return sorted(values)[int(len(values) * 0.9)]


def missed(code: Code) -> list[str]:
    """What misses its target, in words."""
    found = [f"{name} has {lines} lines" for name, lines in code.files.items() if lines > MAX_FILE_LINES]
    if p90(code.functions) > MAX_FUNCTION_LINES_P90:
        found.append(f"every tenth function has more than {p90(code.functions)} lines")
    for name, package in sorted(code.packages.items()):
        most = MAX_PROSE_OF.get(name, MAX_PROSE)
        if package.prose > most:
            found.append(f"{name} has {package.prose} words of prose per 1,000 lines; at most {most}")
    if code.any_per_1000 > MAX_ANY:
        found.append(f"{code.any_per_1000} uses of Any per 1,000 lines; at most {MAX_ANY}")
    found += [f"{place}: Any in a signature" for place in code.any_in_signatures_of_work]
    return found + [f"{place} is longer than {MAX_TEMPLATE_LINE} characters" for place in code.long_template_lines]


def figures(code: Code) -> dict[str, object]:
    lines = list(code.files.values())
    return {
        "lines": code.total.lines,
        "file_median_p90_max": [int(statistics.median(lines)), p90(lines), max(lines)],
        "function_median_p90_max": [
            int(statistics.median(code.functions)),
            p90(code.functions),
            max(code.functions),
        ],
        "prose_words_per_1000_lines": code.total.prose,
        "any_per_1000_lines": code.any_per_1000,
        "template_lines_over_140": len(code.long_template_lines),
    }


def main() -> int:
    code = read()
    for name, package in sorted(code.packages.items()):
        uses = round(1000 * package.uses_of_any / package.lines, 1)
        print(f"{name:28} {package.lines:6} lines {package.prose:6} words per 1,000 {uses:6} Any per 1,000")
    problems = missed(code)
    print(*problems, sep="\n")
    print(json.dumps(figures(code)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
