"""Every exception that is shown to a person has words, and they are marked for translation.

The classes are read from the source, so a new one is tested as soon as it is written. Either the class has the words,
in `message` or `__str__`, or each place that makes one gives them.
"""

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import translation

from annotate.lib.refusals import Refusal

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("annotate", "exports", "models_worker")
MARKERS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}

# Nobody sees these, so they need no words. Each with who deals with it.
INTERNAL = {
    "annotate.desk.forms.BadDraft": "the desk's view, in words of its own",
    "annotate.lib.jobs.LeaseLost": "the worker, which leaves the job to another",
    "annotate.work.workflow.BadAnswer": "the desk's view, which shows the form with its errors",
    "models_worker.engine.templates.Interrupted": "the worker, which gives the run back",
    "models_worker.engine.templates._Ended": "the same class, which asks a second process",
    "models_worker.probing.Stopped": "the worker, which gives the probe back",
}
# These run without Django, and so without its translations. Their words are not empty all the same.
WITHOUT_DJANGO = ("models_worker.engine.", "annotate.launch.", "annotate.launch.postgres_binaries.")
# The arguments of a class with words of its own, where it takes any.
MADE_OF: dict[str, dict[str, Any]] = {
    "annotate.lib.objects.Repeated": {"name": "prompt"},
    "annotate.pools.actions.DuplicatePrompt": {"prompt": SimpleNamespace(id=7, pool=SimpleNamespace(name="everyday"))},
    "annotate.pools.actions.OtherSide": {"group": "frogs", "imported": "train", "side": "validation"},
    "annotate.work.refusals.NotAcknowledged": {"version": None},
    "annotate.work.quarantine.StillEqual": {"prompts": [SimpleNamespace(id=7)]},
    "exports.splits.Leak": {"owners": 1, "texts": 2, "cases": [SimpleNamespace(prompt_id=7)]},
}


class Module:
    """The source of a module, and what its names mean."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.tree = name, ast.parse(source)

    @cached_property
    def names(self) -> dict[str, str]:
        """Full names by the names that this module uses: its own classes, and what it imports."""
        found = {node.name: f"{self.name}.{node.name}" for node in self.nodes(ast.ClassDef)}
        for node in self.nodes(ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        return found

    def nodes(self, kind: type[ast.AST]) -> list[Any]:
        return self._by_kind[kind]

    @cached_property
    def _by_kind(self) -> dict[type[ast.AST], list[ast.AST]]:
        found = defaultdict(list)
        for node in ast.walk(self.tree):
            found[type(node)].append(node)
        return found

    def meaning(self, expression: ast.expr) -> str:
        """The full name that a name or `module.name` stands for; as it is written where it is not one of ours."""
        if isinstance(expression, ast.Attribute):
            return f"{self.meaning(expression.value)}.{expression.attr}"
        written = ast.unparse(expression)
        return self.names.get(written, written)

    def values(self, name: str) -> list[ast.expr]:
        """Everything that the module ever assigns to the name, or passes to a parameter of that name."""
        assigned = [
            node.value
            for node in self.nodes(ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id == name
        ]
        return assigned + [passed for function in self.functions.values() for passed in self.passed(function, name)]

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        """The functions of the module, without methods."""
        return {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    def passed(self, function: ast.FunctionDef, parameter: str) -> list[ast.expr]:
        """What the calls in this module pass to the function's parameter."""
        names = [argument.arg for argument in function.args.args]
        if parameter not in names:
            return []
        at = names.index(parameter)
        calls = [call for call in self.nodes(ast.Call) if ast.unparse(call.func) == function.name]
        by_place = [call.args[at] for call in calls if len(call.args) > at]
        return by_place + [keyword.value for call in calls for keyword in call.keywords if keyword.arg == parameter]

    def returned(self, function: ast.FunctionDef) -> list[ast.expr]:
        returns = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
        return [node.value or ast.Constant(None) for node in returns]

    def marked(self, words: ast.expr) -> bool:
        """Is it a text that is marked for translation, or handed on from another refusal?"""
        match words:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text)), *_]) if name in MARKERS:
                return bool(text.strip())
            case ast.Call(func=ast.Name(id="str"), args=[handed_on]):
                return isinstance(handed_on, ast.Name) or self.marked(handed_on)
            case ast.Call(func=ast.Name(id=name)) if name in self.functions:
                returned = self.returned(self.functions[name])
                return bool(returned) and all(map(self.marked, returned))
            case ast.BinOp(left=left, op=ast.Mod()):
                return self.marked(left)
            case ast.IfExp(body=one, orelse=other):
                return self.marked(one) and self.marked(other)
            case ast.Subscript(value=ast.Name(id=name)):
                tables = self.values(name)
                return bool(tables) and all(
                    isinstance(table, ast.Dict) and all(map(self.marked, table.values)) for table in tables
                )
            case ast.Name(id=name):
                given = self.values(name)
                return bool(given) and all(map(self.marked, given))
            case ast.Attribute(attr="message"):
                return True
        return False


def modules() -> Iterator[Module]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield Module(".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text())


MODULES = list(modules())


def exceptions(among: list[Module]) -> dict[str, tuple[ast.ClassDef, list[str]]]:
    """The exception classes by full name, with the full names of their bases."""
    found: dict[str, tuple[ast.ClassDef, list[str]]] = {}
    known = {"Exception", "ValueError", "rest_framework.exceptions.APIException"}
    while True:
        before = len(found)
        for module in among:
            for node in module.nodes(ast.ClassDef):
                bases = [module.meaning(base) for base in node.bases]
                if known & set(bases):
                    found[f"{module.name}.{node.name}"] = (node, bases)
        known |= set(found)
        if len(found) == before:
            return found


CLASSES = exceptions(MODULES)
# It has no message of its own: its subclasses are raised.
REFUSAL = "annotate.lib.refusals.Refusal"


def has_words(name: str) -> bool:
    """Has the class, or a base of it, `message` or `__str__`, and no `__init__` that is given the words?"""
    if name not in CLASSES or name == REFUSAL:
        return False
    node, bases = CLASSES[name]
    methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    if "__init__" in methods and "words" in [argument.arg for argument in methods["__init__"].args.args]:
        return False
    return "__str__" in methods or "message" in assigned(node) or any(map(has_words, bases))


def assigned(node: ast.ClassDef) -> set[str]:
    simple = [target for part in node.body if isinstance(part, ast.Assign) for target in part.targets]
    return {ast.unparse(target) for target in simple} | {
        ast.unparse(part.target) for part in node.body if isinstance(part, ast.AnnAssign)
    }


SHOWN = sorted(CLASSES.keys() - INTERNAL.keys() - {REFUSAL})
WORDED = [name for name in SHOWN if has_words(name)]
GIVEN_WORDS = set(SHOWN) - set(WORDED)


def made(module: Module) -> Iterator[tuple[int, str, list[ast.expr]]]:
    """(line, class, arguments) wherever the module makes an exception that has no words of its own."""
    for node in module.nodes(ast.Call):
        yield node.lineno, module.meaning(node.func), [*node.args, *(keyword.value for keyword in node.keywords)]
    for node in module.nodes(ast.Raise):
        if node.exc is not None and not isinstance(node.exc, ast.Call):
            yield node.lineno, module.meaning(node.exc), []


def faults(module: Module) -> list[str]:
    """Where the module makes an exception without words, or with words that are not marked for translation."""
    found = []
    for line, name, arguments in made(module):
        if name in GIVEN_WORDS:
            worded = bool(arguments) if name.startswith(WITHOUT_DJANGO) else any(map(module.marked, arguments))
        else:
            worded = name != REFUSAL
        if not worded:
            found.append(f"line {line}: {name}")
    return found


@pytest.fixture
def translated(monkeypatch):
    """A language in which every text stands in angle brackets."""
    monkeypatch.setattr(translation._trans, "gettext", lambda text: f"«{text}»", raising=False)
    monkeypatch.setattr(translation._trans, "ngettext", lambda one, more, _number: f"«{one or more}»", raising=False)


@pytest.mark.parametrize("name", WORDED)
def test_an_exception_with_words_of_its_own_says_them_in_the_readers_language(translated, name):
    module, _dot, class_name = name.rpartition(".")
    words = str(getattr(importlib.import_module(module), class_name)(**MADE_OF.get(name, {})))
    assert words.strip("«» "), f"{name} has no words"
    assert words.startswith("«"), f"{name} is not marked for translation: {words}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_whoever_makes_an_exception_without_words_gives_it_some(module):
    assert faults(module) == []


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("raise BadPrompt", False),
        ("raise BadPrompt()", False),
        ("raise BadPrompt('Plain words.')", False),
        ("raise BadPrompt(_(''))", False),
        ("raise BadPrompt(f'{1} words')", False),
        ("raise BadPrompt(_('Words.'))", True),
        ("raise BadPrompt(_('Words of %(name)s.') % {'name': 'Ada'})", True),
        ("raise BadPrompt(str(other))", True),
        ("words = _('Words.')\nraise BadPrompt(words)", True),
        ("words = 'Plain words.'\nraise BadPrompt(words)", False),
        ("def made():\n    return _('Words.')\nraise BadPrompt(made())", True),
        ("def made():\n    return 'Plain words.'\nraise BadPrompt(made())", False),
        ("def refuse(words):\n    raise BadPrompt(words)\nrefuse(_('Words.'))", True),
        ("def refuse(words):\n    raise BadPrompt(words)\nrefuse('Plain words.')", False),
        ("def refuse(words):\n    raise BadPrompt(words)\nrefuse(words='Plain words.')", False),
        ("raise Refusal", False),
        ("raise refusals.NothingLeft", True),
        ("raise ValueError('A bug.')", True),
    ],
)
def test_the_check_itself_finds_what_has_no_words(line, good):
    imports = (
        "from django.utils.translation import gettext as _\n"
        "from annotate.pools.rules import BadPrompt\n"
        "from annotate.work import refusals\n"
        "from annotate.lib.refusals import Refusal\n"
    )
    assert (faults(Module("somewhere", imports + line)) == []) is good


def test_every_exception_that_needs_no_words_is_there():
    assert INTERNAL.keys() | MADE_OF.keys() <= CLASSES.keys()


def test_a_refusal_without_a_message_is_a_bug_where_it_is_raised():
    class Silent(Refusal):
        """Nobody wrote its message."""

    with pytest.raises(TypeError, match="Silent has no message"):
        raise Silent
    assert str(Silent("Do this.")) == "Do this."
