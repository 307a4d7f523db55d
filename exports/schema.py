"""What stands in a line of each training file. SCHEMA_VERSION moves when a key comes, goes or changes its meaning.

Every key is in every line, with one type and never null: loaders infer the columns from the first lines they see.
Nothing in a line names a person: labelers, groups and customers are numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict

SCHEMA_VERSION = 3

FileKind = Literal["sft", "rm", "rm_pairs", "ppo"]
FILE_KINDS: tuple[FileKind, ...] = ("sft", "rm", "rm_pairs", "ppo")


class Message(TypedDict):
    role: str
    content: str


class Pair(TypedDict):
    """Indexes into the `completions` of the same line."""

    chosen: int
    rejected: int


class Row(Protocol):
    """`split` names the file that the line belongs to; `as_json` is the line.

    The line says its split too, so that its prompt stays on that side when the file is imported again.
    """

    @property
    def kind(self) -> FileKind: ...
    @property
    def split(self) -> str: ...
    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class AboutPrompt:
    """The prompt's columns. `group` is what the split was drawn by. No group and no customer is in both splits."""

    prompt_id: int
    group: str
    source: str
    category: str
    prompt_kind: str
    language: str
    priority: int


@dataclass(frozen=True)
class AboutAnswer:
    """The answer's columns. `submitted_at` always has microseconds, or loaders take some files' column for a date.

    active_seconds: how long its labeler looked at the task and did something; -1 where no browser told.
    """

    answer_id: int
    labeler: str
    campaign: str
    guideline: str
    guideline_version: int
    submitted_at: str
    active_seconds: int


@dataclass(frozen=True)
class SftRow:
    """A prompt and the completion a person wrote to it. `example` is `demonstration`, or `few_shot` for one of the K
    examples that an instruction with K query/response pairs gives, each with the other K-1 as its context."""

    split: str
    prompt: Sequence[Message]
    completion: str
    example: str
    about_prompt: AboutPrompt
    about_answer: AboutAnswer
    kind: FileKind = "sft"

    def as_json(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "completion": assistant(self.completion),
            "example": self.example,
            "split": self.split,
            **vars(self.about_prompt),
            **vars(self.about_answer),
        }


@dataclass(frozen=True)
class Choice:
    """One completion of a ranking: rank 1 is best and equal ranks are a tie; rating 1 is worst, 7 is best.

    provenance: how it came about, as JSON text.
    """

    completion_id: int
    text: str
    text_hash: str
    policy: str
    rank: int
    rating: int
    provenance: str


@dataclass(frozen=True)
class RmRow:
    """One person's weak order over the K completions of a prompt, and all the pairs in it.

    A reward model takes the pairs of one line as one batch element (arXiv 2203.02155, 3.5), each weighted by
    1/C(K,2) as in its equation 1. Ties are dropped from the pairs, and so are pairs of two equal texts.
    `shown` holds the indexes of the completions in the order this person saw them; policies are `name@revision`.
    `provenance` is JSON text, one of each completion: engines tell different things, and a column has one type.
    """

    split: str
    prompt: Sequence[Message]
    choices: Sequence[Choice]
    shown: Sequence[int]
    pairs: Sequence[Pair]
    tied_pairs: int
    identical_pairs: int
    weight: float
    ranking_id: int
    about_prompt: AboutPrompt
    about_answer: AboutAnswer
    kind: FileKind = "rm"

    def as_json(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "completions": [assistant(choice.text) for choice in self.choices],
            "ranks": [choice.rank for choice in self.choices],
            "ratings": [choice.rating for choice in self.choices],
            "policies": [choice.policy for choice in self.choices],
            "completion_ids": [choice.completion_id for choice in self.choices],
            "provenance": [choice.provenance for choice in self.choices],
            "shown": self.shown,
            "pairs": self.pairs,
            "tied_pairs": self.tied_pairs,
            "identical_pairs": self.identical_pairs,
            "tie_rule": "dropped",
            "weight": self.weight,
            "ranking_id": self.ranking_id,
            "split": self.split,
            **vars(self.about_prompt),
            **vars(self.about_answer),
        }


@dataclass(frozen=True)
class RmPairRow:
    """One pair of a ranking, for trainers that take pairs. There is no `margin` column on purpose: trainers that find
    one add it to the loss, which the method does not do; `rank_gap` and `rating_gap` are there to make one from."""

    ranking: RmRow
    pair: Pair
    kind: FileKind = "rm_pairs"

    @property
    def split(self) -> str:
        return self.ranking.split

    def as_json(self) -> dict[str, Any]:
        ranking = self.ranking
        chosen, rejected = ranking.choices[self.pair["chosen"]], ranking.choices[self.pair["rejected"]]
        return {
            "prompt": ranking.prompt,
            "chosen": assistant(chosen.text),
            "rejected": assistant(rejected.text),
            "weight": ranking.weight,
            "rank_gap": rejected.rank - chosen.rank,
            "rating_gap": chosen.rating - rejected.rating,
            "chosen_policy": chosen.policy,
            "rejected_policy": rejected.policy,
            "chosen_id": chosen.completion_id,
            "rejected_id": rejected.completion_id,
            "ranking_id": ranking.ranking_id,
            "split": ranking.split,
            **vars(ranking.about_prompt),
            **vars(ranking.about_answer),
        }


@dataclass(frozen=True)
class PpoRow:
    """A customer's prompt. There is no answer: the policy that is trained writes it."""

    split: str
    prompt: Sequence[Message]
    about_prompt: AboutPrompt
    kind: FileKind = "ppo"

    def as_json(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "split": self.split, **vars(self.about_prompt)}


def assistant(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]
