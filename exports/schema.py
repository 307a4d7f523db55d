"""The columns of the training files, each a field of a row class. Lines, card and docs/training-files.md use them.

Loaders infer types from the first lines: every line has all columns, a column has one type, and no value is null. No
line names a person.
"""

from dataclasses import dataclass, fields
from types import NoneType
from typing import Annotated, ClassVar, TypedDict, get_args, get_type_hints

# Increases when a column is added or removed or changes its meaning.
SCHEMA_VERSION = 3


class Message(TypedDict):
    role: str
    content: str


Messages = list[Message]
PromptColumn = Annotated[Messages, "The messages that the policy continues."]
# Keeps the prompt on its side of the split when somebody imports the file again.
SplitColumn = Annotated[str, "The side of the split: `train` or `valid`. It is also part of the file name."]


class ColumnGroup:
    """One field of a row class, several columns of a line."""


@dataclass(frozen=True)
class AboutPrompt(ColumnGroup):
    prompt_id: Annotated[int, "Id of the prompt."]
    group: Annotated[str, "The group that the split was drawn by. No group is on both sides of the split."]
    source: Annotated[str, "Who wrote the prompt: `labeler` or `customer`."]
    category: Annotated[str, "Use case of the prompt; empty if nobody chose one."]
    prompt_kind: Annotated[str, "How the prompt was made: `plain`, `few_shot` or `user_based`."]
    language: Annotated[str, "Language tag of the prompt (BCP 47)."]
    priority: Annotated[int, "Priority of the prompt in its pool; higher is more important."]


@dataclass(frozen=True)
class AboutAnswer(ColumnGroup):
    answer_id: Annotated[int, "Id of the answer. All lines that come from one answer share it."]
    labeler: Annotated[str, "The labeler, as `labeler-` and a number."]
    campaign: Annotated[str, "Name of the campaign."]
    guideline: Annotated[str, "Name of the guideline."]
    guideline_version: Annotated[int, "The version of the guideline that the labeler had acknowledged."]
    # Always with microseconds: without them some loaders infer a date type, for some files only.
    submitted_at: Annotated[str, "When the labeler submitted the answer, in UTC (ISO 8601, with microseconds)."]
    active_seconds: Annotated[int, "Seconds during which the labeler worked on the task; -1 if not measured."]


class Row:
    file: ClassVar[str]
    split: str

    def as_json(self) -> dict[str, object]:
        line: dict[str, object] = {}
        for name, value in vars(self).items():
            if isinstance(value, ColumnGroup):
                line |= vars(value)
            else:
                line[name] = value
        return line


@dataclass(frozen=True)
class Column:
    name: str
    # A scalar, a TypedDict, or a list of these.
    type: object
    meaning: str

    @property
    def nullable(self) -> bool:
        return NoneType in get_args(self.type)


@dataclass(frozen=True, kw_only=True)
class TrainingFile:
    """One file for each side of the split."""

    row: type[Row]
    # Markdown, for the dataset card.
    card: str
    # For the manifest.
    rule: str = ""
    # For counts of prompts.
    sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.row.file

    @property
    def columns(self) -> list[Column]:
        return columns(self.row)


def columns(declaration: type[Row] | type[ColumnGroup]) -> list[Column]:
    hints = get_type_hints(declaration, include_extras=True)
    found: list[Column] = []
    for field in fields(declaration):  # type: ignore[arg-type]
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, ColumnGroup):
            found += columns(hint)
        else:
            type_, meaning = get_args(hint)
            found.append(Column(field.name, type_, meaning))
    return found


def assistant(text: str) -> Messages:
    return [{"role": "assistant", "content": text}]
