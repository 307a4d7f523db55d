import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom

import httpx2

from models_worker.engine.server import Busy, Reply, Server, ask, connected

_random = SystemRandom()


class GivenUp(Exception):
    """The server answered none of the tries. The message is its last error."""


@dataclass(frozen=True)
class Patience:
    """When to send a request again. Times are in seconds.

    seconds: timeout of one answer. tries: maximum number of failures. busy: how long to try while the server answers
    "later", which is not a failure. pause: before the second try; doubles each time, up to most_pause.
    """

    seconds: float = 300.0
    tries: int = 5
    busy: float = 900.0
    pause: float = 1.0
    most_pause: float = 60.0

    def before(self, again: int) -> float:
        """The pause before the again-th repetition, with jitter."""
        return min(self.most_pause, self.pause * 2.0 ** min(again - 1, 20)) * _random.uniform(0.5, 1)


class Line:
    """A client for one event loop. If one request must wait, all wait."""

    def __init__(self, client: httpx2.AsyncClient, server: Server, patience: Patience) -> None:
        self.client, self.server, self.patience = client, server, patience
        self._quiet_until = 0.0

    async def ask(self, fields: Mapping[str, object]) -> tuple[Reply, int]:
        """Returns the number of requests too. Raises GivenUp, server.Refused or SamplerUnusable."""
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + self.patience.busy
        sent = failures = 0
        while True:
            while (rest := self._quiet_until - clock()) > 0:
                await asyncio.sleep(rest)
            sent += 1
            try:
                return await ask(self.client, self.server, fields, seconds=self.patience.seconds), sent
            except Busy as busy:
                failures += not busy.later
                pause = self.patience.before(sent) if busy.after is None else busy.after
                if failures >= self.patience.tries or clock() + pause > give_up_at:
                    raise GivenUp(str(busy)) from None
                if busy.later:
                    self._quiet_until = max(self._quiet_until, clock() + pause)
                else:
                    await asyncio.sleep(pause)


@asynccontextmanager
async def line_to(server: Server, patience: Patience, *, connections: int) -> AsyncIterator[Line]:
    async with connected(server, connections=connections) as client:
        yield Line(client, server, patience)
