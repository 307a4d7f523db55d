"""One request to a server with OpenAI's API, and the meaning of its answer.

vLLM, SGLang, TGI, llama.cpp and hosted services differ in details. Their errors become Busy (try later), Refused (never
for this request) or SamplerUnusable (never).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import httpx2

from models_worker.engine.chat import PLAIN, Message, Template
from models_worker.engine.types import SamplerUnusable

Endpoint = Literal["chat", "completions"]
Limit = Literal["max_tokens", "max_completion_tokens"]

MOST_BYTES = 16 << 20
MOST_WORDS = 300
CONNECT_SECONDS = 10.0
# Statuses that hold for every request of the policy.
FOR_ALL = {
    401: "refuses the key",
    402: "wants to be paid",
    403: "refuses access",
    404: "knows no such address or model",
    405: "does not take such requests at this address",
}
OTHER_TIMES = frozenset({408, 409, 425, 429})
# A 429 with this code is permanent.
NO_QUOTA = "insufficient_quota"
FINISHED = {"stop": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop"}
CUT_OFF = {"length": "length", "max_tokens": "length"}


class Refused(Exception):
    """The message quotes the server."""


class Busy(Exception):
    """later: the server asks to wait, which is not a failure. after: seconds to wait, if known."""

    def __init__(self, words: str, *, later: bool = False, after: float | None = None) -> None:
        super().__init__(words)
        self.later, self.after = later, after


@dataclass(frozen=True)
class Server:
    """A served model and how to send requests to it.

    url: without the endpoint, such as https://host/v1. endpoint: "chat" sends messages, "completions" a text rendered
    by `template`. key: secret. examples: messages before every prompt. takes_seed: send seeds. takes_whole_top_p: send
    a top_p of 1, which some servers refuse. limit: the field for the maximum number of tokens. reproducible: equal
    seeds give equal texts; None if unknown.
    """

    url: str
    model: str
    endpoint: Endpoint = "chat"
    key: str = field(default="", repr=False)
    template: Template = PLAIN
    examples: tuple[Message, ...] = ()
    takes_seed: bool = True
    takes_whole_top_p: bool = True
    limit: Limit = "max_tokens"
    reproducible: bool | None = None

    @property
    def path(self) -> str:
        return "chat/completions" if self.endpoint == "chat" else "completions"

    @property
    def name(self) -> str:
        return f"The server {urlsplit(self.url).netloc}"


@dataclass(frozen=True)
class Reply:
    """Unknown values are None or empty. choices: the number of completions; `text` is the first."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    tokens: int | None
    model: str
    fingerprint: str
    choices: int
    logprobs: bool


@asynccontextmanager
async def connected(server: Server, *, connections: int) -> AsyncIterator[httpx2.AsyncClient]:
    """Follows no redirects, because they could leak the key."""
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    async with httpx2.AsyncClient(
        base_url=server.url.rstrip("/") + "/",
        headers=headers,
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
    ) as client:
        yield client


async def ask(client: httpx2.AsyncClient, server: Server, fields: Mapping[str, object], *, seconds: float) -> Reply:
    """Send one request for one completion. Raises Busy, Refused or SamplerUnusable."""
    named = {"model": server.model, **fields}
    status, headers, body = await _exchange(client, server, "POST", server.path, named, seconds)
    if problem := _problem(server, status, headers, body):
        raise problem
    return _reply(server, body)


async def context_length(client: httpx2.AsyncClient, server: Server, *, seconds: float) -> int | None:
    """In tokens, if the server's list of models has it, as vLLM's does."""
    try:
        status, _headers, body = await _exchange(client, server, "GET", "models", None, seconds)
        models = json.loads(body)["data"] if status == 200 else []
        return next((_count(each.get("max_model_len")) for each in models if each["id"] == server.model), None)
    except (Busy, ValueError, LookupError, TypeError, AttributeError):
        return None


async def _exchange(
    client: httpx2.AsyncClient, server: Server, method: str, path: str, fields: object, seconds: float
) -> tuple[int, Mapping[str, str], bytes]:
    """Raises Busy."""
    try:
        # For the whole answer: a timeout per read never ends if the server sends a byte now and then.
        async with asyncio.timeout(seconds), client.stream(method, path, json=fields) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise Busy(f"{server.name} sent more than {MOST_BYTES >> 20} MB for one completion.")
            return response.status_code, response.headers, _without_key(server, bytes(body))
    except (TimeoutError, httpx2.TimeoutException) as error:
        if isinstance(error, httpx2.ConnectTimeout):
            raise Busy(f"{server.name} cannot be reached: no connection within {CONNECT_SECONDS:g} seconds.") from None
        raise Busy(f"{server.name} gave no whole answer within {seconds:g} seconds.") from None
    except httpx2.ConnectError as error:
        raise Busy(f"{server.name} cannot be reached: {_words(server, str(error))}") from None
    except httpx2.RequestError as error:
        # Not `from error`, because the error holds the request with the key.
        words = _words(server, str(error)) or type(error).__name__
        raise Busy(f"{server.name} broke off its answer: {words}") from None


def _problem(server: Server, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
    if status == 200:
        return None
    said = _said(server, body)
    words = f"{said} ({status})" if said else f"it answered {status} and no more."
    if 300 <= status < 400:
        place = _words(server, headers.get("location", "")) or "another address"
        return SamplerUnusable(f"{server.name} sends on to {place}. Register that address if it is to be trusted.")
    if status == 429 and NO_QUOTA in body.decode(errors="replace"):
        return SamplerUnusable(f"{server.name} gives this key no more quota: {words}")
    if status in OTHER_TIMES or status >= 500:
        after = _seconds(headers.get("retry-after", ""))
        return Busy(f"{server.name}: {words}", later=status == 429 or after is not None, after=after)
    if status in FOR_ALL:
        return SamplerUnusable(f"{server.name} {FOR_ALL[status]}: {words}")
    return Refused(f"{server.name} refuses this prompt: {words}")


def _reply(server: Server, body: bytes) -> Reply:
    try:
        answer = json.loads(body)
        choices = answer["choices"]
        choice = choices[0]
        message = choice.get("message") or {}
        text = message.get("content") if server.endpoint == "chat" else choice["text"]
        usage = answer.get("usage") or {}
        if not isinstance(text, str):
            why = _clean(choice.get("finish_reason"))
            raise Refused(f"{server.name} answered this prompt without a text (finish reason {why!r}).")
        return Reply(
            # JSON may have half of a surrogate pair, which PostgreSQL refuses; U+FFFD replaces it.
            text=text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
            finish_reason=_clean(choice.get("finish_reason")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            tokens=_count(usage.get("completion_tokens")),
            model=_clean(answer.get("model")),
            fingerprint=_clean(answer.get("system_fingerprint")),
            choices=len(choices),
            logprobs=bool(choice.get("logprobs")),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        said = _said(server, body) or "nothing"
        raise Busy(f"{server.name} sent no completion but: {said}") from None


def ended(reply: Reply, asked: int) -> Literal["stop", "length", "filter", "unknown"]:
    """Without a finish reason, by the number of tokens."""
    word = reply.finish_reason
    if word in FINISHED or word in CUT_OFF:
        return "stop" if word in FINISHED else "length"
    if not word:
        return "length" if reply.tokens is not None and reply.tokens >= asked else "stop"
    return "filter" if word == "content_filter" else "unknown"


def _said(server: Server, body: bytes) -> str:
    """The error message from one of the usual places, or the beginning of the body."""
    try:
        found = json.loads(body)
    except ValueError:
        return _words(server, body.decode(errors="replace"))
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    if isinstance(found, Sequence) and not isinstance(found, str) and found and isinstance(found[0], dict):
        found = found[0].get("msg") or found
    return _words(server, found if isinstance(found, str) else json.dumps(found))


def _without_key(server: Server, body: bytes) -> bytes:
    """Some servers repeat the key in their messages."""
    return body.replace(server.key.encode(), b"[key]") if server.key else body


def _words(server: Server, text: str) -> str:
    text = _without_key(server, text[: MOST_WORDS * 20].encode(errors="replace")).decode(errors="replace")
    text = " ".join(_clean(text, most=len(text)).split())
    return text if len(text) <= MOST_WORDS else text[: MOST_WORDS - 1] + "…"


def _clean(value: object, *, most: int = 200) -> str:
    """A short text without characters that PostgreSQL refuses."""
    text = value if isinstance(value, str) else ""
    return text.replace("\0", "").encode(errors="replace").decode()[:most]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _seconds(retry_after: str) -> float | None:
    """Of a number of seconds or a date."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - datetime.now(UTC)).total_seconds())
