"""A real HTTP server that speaks OpenAI's API as well or as badly as a test tells it to."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from models_worker.engine.patience import Patience
from models_worker.engine.server import Server

# Quick to try again, and never for long.
HASTY = Patience(seconds=20, tries=3, busy=20, pause=0.01, most_pause=0.02)
# Anything that waits longer than this hangs.
LONG = 20


@dataclass
class Asked:
    """One request: its body, its headers, and the how-manieth it is with this body (from 1)."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    time: int
    # The client went away before it was answered.
    abandoned: threading.Event = field(default_factory=threading.Event)

    @property
    def prompt(self) -> str:
        return str(self.body.get("prompt") or self.body["messages"][-1]["content"])


@dataclass
class Says:
    """An answer. half: the connection ends in the middle of it. drip: it comes byte by byte until the client leaves."""

    status: int = 200
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    half: bool = False
    drip: bool = False


# In place of an answer.
HANG, HANG_UP = Says(-1), Says(-2)

Script = Callable[[Asked], Says]


def completion(asked: Asked, text: str | None = None, **also: Any) -> Says:
    """What a good server says: a text that its prompt and its seed decide, cut as it was asked for."""
    body = asked.body
    if text is None:
        drawn = sha256(f"{asked.prompt} {body.get('seed')}".encode()).hexdigest()
        text = " ".join(drawn[at : at + 4] for at in range(0, 64, 4))
    most = body.get("max_tokens") or body["max_completion_tokens"]
    words = text.split(" ")
    cut, text = len(words) > most, " ".join(words[:most])
    stops = [at for at in map(text.find, body.get("stop", [])) if at >= 0]
    text = text[: min(stops, default=None)]
    choice = {
        "index": 0,
        "finish_reason": "length" if cut and not stops else "stop",
        "logprobs": {"content": []} if body.get("logprobs") else None,
        **({"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}),
    }
    answer = {
        "model": "tiny@7",
        "system_fingerprint": "fp_1",
        "choices": [choice] * body.get("n", 1),
        "usage": {"prompt_tokens": 9, "completion_tokens": min(len(words), most)},
    }
    return Says(body=answer | also)


def refusal(status: int, words: str = "", **headers: str) -> Says:
    body: dict[str, Any] = {"error": {"message": words, "type": "invalid_request_error"}} if words else {}
    return Says(status, body or b"", {name.replace("_", "-"): value for name, value in headers.items()})


class UnreliableServer:
    """Answers as `script` says; `asked` has all it was asked, `most` how many requests it had at a time."""

    def __init__(self) -> None:
        self.script: Script = completion
        self.asked: list[Asked] = []
        self.most = self.now = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._times: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(Says(body={"data": [{"id": "tiny", "max_model_len": 512}]}))

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                asked = outer._note(self.path, raw, dict(self.headers))
                try:
                    self._say(outer.script(asked), asked)
                finally:
                    outer._forget()

            def _say(self, says: Says, asked: Asked | None = None) -> None:
                if says == HANG:
                    # Readable without bytes: the client has closed.
                    self.connection.settimeout(LONG)
                    if asked and self.rfile.read(1) == b"":
                        asked.abandoned.set()
                if says in (HANG, HANG_UP):
                    self.close_connection = True
                    return
                body = says.body if isinstance(says.body, bytes) else json.dumps(says.body).encode()
                self.send_response(says.status)
                for name, value in says.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    if says.half or says.drip:
                        self.close_connection = True
                        self.wfile.write(body[: len(body) // 2])
                        while says.drip and not outer.closing.wait(0.02):
                            self.wfile.write(b" ")
                    else:
                        self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_args: Any) -> None:
                pass

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_args: Any) -> None:
                """A client that left is no error here."""

        self._http = Threads(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def server(self, **fields: Any) -> Server:
        return Server(**{"url": self.url, "model": "tiny"} | fields)

    def _note(self, path: str, raw: bytes, headers: dict[str, str]) -> Asked:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self._times[raw.decode()] += 1
            asked = Asked(path, json.loads(raw), headers, self._times[raw.decode()])
            self.asked.append(asked)
            return asked

    def _forget(self) -> None:
        with self._lock:
            self.now -= 1

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(LONG)


@contextmanager
def unreliable_server() -> Iterator[UnreliableServer]:
    server = UnreliableServer()
    try:
        yield server
    finally:
        server.close()
