"""What an import would drop: fields that hold text and that nobody reads. They are found before a line is taken."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.pools.importers import fields
from annotate.pools.importers.lines import Line
from annotate.pools.models import ImportJob

# More names than anybody reads are data, and a question about them would be none.
MOST_FIELDS: Final = 200
EXAMPLES: Final = 3


class Unused(Protocol):
    """The fields of a line that the import would take without them, by name; nothing for a line that is refused."""

    def __call__(self, job: ImportJob, line: Line) -> Mapping[str, object]: ...


class TooManyFields(Refusal):
    def __str__(self) -> str:
        return _(
            "More than %(most)d differently named fields hold text that would be left out: the names seem to be data. "
            "Write the fields that are to be imported, and no others, and import the file again."
        ) % {"most": MOST_FIELDS}


@dataclass
class Loss:
    """A field that holds text and would be dropped: how many lines have it, and what it says in the first of them."""

    name: str
    lines: int = 0
    examples: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Losses:
    """Found line by line."""

    def __init__(self, job: ImportJob, unused: Unused) -> None:
        self.job = job
        self.unused = unused
        self.by_name: dict[str, Loss] = {}

    def look(self, lines: Iterable[Line]) -> None:
        """Raises TooManyFields."""
        for line in lines:
            if line.problem:
                continue
            for name, value in undecided(self.job, self.unused(self.job, line)):
                loss = self.by_name.setdefault(name, Loss(name))
                loss.lines += 1
                if len(loss.examples) < EXAMPLES and (said := fields.example(value)) not in loss.examples:
                    loss.examples.append(said)
            if len(self.by_name) > MOST_FIELDS:
                raise TooManyFields

    def found(self) -> list[Loss]:
        """In the order of the file."""
        return list(self.by_name.values())


def undecided(job: ImportJob, unused: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Those that hold text, by the names under which they are shown, unless somebody decided to leave them out."""
    for name, value in unused.items():
        if fields.shown(name) not in job.ignore and fields.holds_text(value):
            yield fields.shown(name), value


def refusal(job: ImportJob, unused: Mapping[str, object]) -> str:
    """Why a line is not taken while nobody has decided about a field; "" if everything is decided."""
    names = [name for name, _value in undecided(job, unused)]
    if not names:
        return ""
    return _("Nobody decided to leave out the fields %(names)s, which hold text.") % {"names": ", ".join(names)}
