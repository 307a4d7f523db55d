"""Find fields with text that an import would drop, before it imports a line."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Protocol

from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.pools.importers import fields
from annotate.pools.importers.lines import Line
from annotate.pools.models import ImportJob

# Beyond this the names are data.
MAX_FIELDS: Final = 200
EXAMPLES: Final = 3


class Unused(Protocol):
    """Return the fields that the import ignores, none for a refused line."""

    def __call__(self, job: ImportJob, line: Line) -> Mapping[str, object]: ...


class TooManyFields(Refusal):
    def __str__(self) -> str:
        return _(
            "More than %(most)d fields with different names contain text that would be left out. Write only the "
            "fields that you want to import, and import the file again."
        ) % {"most": MAX_FIELDS}


@dataclass
class Loss:
    """A field with text that would be dropped, the number of its lines, and its first values."""

    name: str
    lines: int = 0
    examples: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Losses:
    def __init__(self, job: ImportJob, unused: Unused) -> None:
        self.job = job
        self.unused = unused
        self.by_name: dict[str, Loss] = {}

    def look(self, lines: Iterable[Line]) -> None:
        """Search lines. Raises TooManyFields."""
        for line in lines:
            if line.problem:
                continue
            for name, value in undecided(self.job, self.unused(self.job, line)):
                loss = self.by_name.setdefault(name, Loss(name))
                loss.lines += 1
                if len(loss.examples) < EXAMPLES and (example := fields.example(value)) not in loss.examples:
                    loss.examples.append(example)
            if len(self.by_name) > MAX_FIELDS:
                raise TooManyFields

    def found(self) -> list[Loss]:
        return list(self.by_name.values())


def undecided(job: ImportJob, unused: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield fields with text that nobody decided to drop, by their displayed names."""
    for name, value in unused.items():
        if fields.shown(name) not in job.ignore and fields.holds_text(value):
            yield fields.shown(name), value


def refusal(job: ImportJob, unused: Mapping[str, object]) -> str:
    names = [name for name, _value in undecided(job, unused)]
    if not names:
        return ""
    return _("Nobody decided to leave out the fields %(names)s, which hold text.") % {"names": ", ".join(names)}
