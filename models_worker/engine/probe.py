"""Test what a server supports. Its documentation may not hold for this model and configuration."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from models_worker.engine.openai_engine import fields_of, prompt_text
from models_worker.engine.patience import GivenUp, Line, Patience, line_to
from models_worker.engine.server import CUT_OFF, Limit, Refused, Reply, Server, context_length, ended
from models_worker.engine.types import SampleRequest, SamplerUnusable, SamplingParams

QUESTION = "Write one sentence about anything you like."
TOKENS = 24
# One seed repeats among others: some servers are reproducible only without concurrent requests.
SEEDS = (11, 12, 11, 13, 11, 14)
LENGTH = 2
# Fewer servers know the second name, which is newer.
LIMITS: tuple[Limit, ...] = ("max_tokens", "max_completion_tokens")
STOPS = 4
STAGES = 6


class ProbeFailed(Exception):
    """The server answered no request. The message quotes it."""


@dataclass(frozen=True)
class Findings:
    """None: undecided.

    takes_seed, takes_whole_top_p, limit: see server.Server. usage: the server reports the number of tokens. context:
    maximum tokens of prompt and answer. seed: equal seeds gave equal texts, also among concurrent requests, and others
    did not. n, logprobs: supported.
    stop: "ends" a text, "stays" at its end, or is "ignored". length: the limit is respected and reported.
    """

    takes_seed: bool
    takes_whole_top_p: bool
    limit: Limit
    usage: bool
    model: str
    fingerprint: str
    context: int | None
    seed: bool | None
    n: bool | None
    logprobs: bool | None
    stop: Literal["ends", "stays", "ignored"] | None
    length: bool | None


def probe(server: Server, *, patience: Patience, on_stage: Callable[[int], None]) -> Findings:
    """Probe a server with about fifteen short requests. Raises ProbeFailed or SamplerUnusable.

    on_stage: called with 1, 2, … up to STAGES. It may use the database.
    """
    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        line = loop.run(stack.enter_async_context(line_to(server, patience, connections=len(SEEDS))))
        try:
            asked = _Probe(line)
            found: dict[str, Any] = {}
            for number, stage in enumerate(
                (asked.basics, asked.seed, asked.n, asked.logprobs, asked.stop, asked.length), start=1
            ):
                found |= loop.run(stage())
                on_stage(number)
            return Findings(**found)
        finally:
            loop.run(stack.aclose())


class _Probe:
    def __init__(self, line: Line) -> None:
        self.line = line
        self.texts: list[str] = []

    async def basics(self) -> dict[str, object]:
        server, first = self.line.server, None
        for limit, takes_whole_top_p, takes_seed in product(LIMITS, (True, False), (True, False)):
            way: dict[str, Any] = {"takes_seed": takes_seed, "takes_whole_top_p": takes_whole_top_p, "limit": limit}
            self.line.server = replace(server, **way)
            try:
                reply = await self._ask(SEEDS[0])
            except Refused as refusal:
                first = first or refusal
            except GivenUp as reason:
                raise ProbeFailed(str(reason)) from None
            else:
                return way | {
                    "usage": reply.tokens is not None,
                    "model": reply.model,
                    "fingerprint": reply.fingerprint,
                    "context": await context_length(self.line.client, server, seconds=self.line.patience.seconds),
                }
        raise ProbeFailed(str(first))

    async def seed(self) -> dict[str, object]:
        try:
            replies = await asyncio.gather(*map(self._ask, SEEDS))
            replies.append(await self._ask(SEEDS[0]))
        except (Refused, GivenUp) as reason:
            raise ProbeFailed(str(reason)) from None
        self.texts = [reply.text for reply in replies]
        same = {text for text, seed in zip(self.texts, (*SEEDS, SEEDS[0]), strict=True) if seed == SEEDS[0]}
        if not self.line.server.takes_seed or len(same) > 1:
            return {"seed": False}
        # If all texts are equal, the effect of the seed is unknown.
        return {"seed": True if len(set(self.texts)) > 1 else None}

    async def n(self) -> dict[str, object]:
        reply = await self._try(n=2)
        return {"n": reply and reply.choices == 2}

    async def logprobs(self) -> dict[str, object]:
        reply = await self._try(logprobs=True if self.line.server.endpoint == "chat" else 1)
        return {"logprobs": reply and reply.logprobs}

    async def stop(self) -> dict[str, object]:
        """With the commonest letters so far as stop strings."""
        letters = Counter(letter for text in self.texts for letter in text if letter.isprintable() and letter != " ")
        stops = [letter for letter, _times in letters.most_common(STOPS)]
        reply = await self._try(stop=stops) if stops else None
        if not reply:
            return {"stop": reply if reply is None else "ignored"}
        at = min((at for at in map(reply.text.find, stops) if at >= 0), default=None)
        if at is not None:
            return {"stop": "stays" if at == len(reply.text) - 1 else "ignored"}
        return {"stop": "ends" if ended(reply, TOKENS) == "stop" else None}

    async def length(self) -> dict[str, object]:
        reply = await self._try(**{self.line.server.limit: LENGTH})
        if not reply:
            return {"length": reply}
        if (reply.tokens is not None and reply.tokens > LENGTH) or not reply.finish_reason:
            return {"length": False}
        # The policy may have ended by itself.
        return {"length": True if reply.finish_reason in CUT_OFF else None}

    async def _try(self, **more: object) -> Reply | Literal[False] | None:
        """False if the server refuses these further fields, None without answer."""
        try:
            return await self._ask(SEEDS[0], **more)
        except (Refused, SamplerUnusable):
            # The server answered without them before.
            return False
        except GivenUp:
            return None

    async def _ask(self, seed: int, **more: object) -> Reply:
        request = SampleRequest(
            prompt_id="probe",
            k=0,
            prompt_ids=(),
            params=SamplingParams(temperature=1.0, max_new_tokens=TOKENS),
            seed=seed,
            prompt_text=prompt_text(self.line.server, [{"role": "user", "content": QUESTION}]),
        )
        reply, _sent = await self.line.ask(fields_of(self.line.server, request) | more)
        return reply
