"""Prompts for reinforcement learning: customers' only, without any answer (arXiv 2203.02155, 3.2)."""

from collections.abc import Iterator, Sequence

from annotate.work.models import Campaign
from exports import queries
from exports.rows.about import CHUNK, about_prompt, messages
from exports.schema import PpoRow


def rows(campaigns: Sequence[Campaign]) -> Iterator[PpoRow]:
    """One row a customer prompt of the campaigns' pools. Memory is a chunk of rows."""
    for prompt in queries.customer_prompts(campaigns).iterator(CHUNK):
        yield PpoRow(split=prompt.group.split, prompt=messages(prompt), about_prompt=about_prompt(prompt))
