"""Supervised examples: a prompt, and the completion a person wrote to it (arXiv 2203.02155, 3.2 and A.1)."""

from collections.abc import Iterator, Sequence
from typing import cast

from annotate.pools.models import Prompt
from annotate.pools.rules import Shots, shot_examples
from annotate.work.models import Campaign
from exports import queries
from exports.rows.about import CHUNK, Names, about_answer, about_prompt, messages, prompt_of
from exports.schema import SftRow


def demonstrations(campaigns: Sequence[Campaign], names: Names) -> Iterator[SftRow]:
    """One row a demonstration. Memory is a chunk of rows."""
    for demonstration in queries.demonstrations(campaigns).iterator(CHUNK):
        assignment = demonstration.assignment
        prompt = prompt_of(assignment)
        yield SftRow(
            split=prompt.group.split,
            prompt=messages(prompt),
            completion=demonstration.text,
            example="demonstration",
            about_prompt=about_prompt(prompt),
            about_answer=about_answer(assignment, names),
        )


def few_shot_examples(campaigns: Sequence[Campaign], names: Names) -> Iterator[list[SftRow]]:
    """K rows an instruction with K query/response pairs: each pair in turn is asked for, the others stand before it."""
    for instruction in queries.few_shot_instructions(campaigns).iterator(CHUNK):
        # The query asks for those that have both.
        prompt = cast(Prompt, instruction.prompt)
        shots = cast(Shots, prompt.shots)
        yield [
            SftRow(
                split=prompt.group.split,
                prompt=[{"role": "user", "content": text}],
                completion=response,
                example="few_shot",
                about_prompt=about_prompt(prompt),
                about_answer=about_answer(instruction.assignment, names),
            )
            for text, response in shot_examples(shots)
        ]
