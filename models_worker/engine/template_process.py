"""The process that renders chat templates for templates.py: one JSON object per line in, one per line out.

It runs as a script, so that it loads neither torch nor anything else of the worker. A template comes from a checkpoint
and can ask for any amount of time and memory, in loops as well as inside single operations of Python. The kernel bounds
the memory; templates.py bounds the time and kills this process.
"""

import json
import math
import os
import resource
import signal
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

# A template can raise words of any length. A page and a row of the database take these many characters.
MOST_WORDS = 1000


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    # Set up as transformers reads chat templates.
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)


def _text(asked: Mapping[str, Any]) -> str:
    if asked["style"] == "server":
        return _compiled(asked["source"]).render(
            messages=asked["messages"], add_generation_prompt=asked["answering"], **asked["values"]
        )
    from transformers.utils.chat_template_utils import render_jinja_template

    # The annotation says str, but the value is the texts and the positions of the answers in them.
    rendered: Any = render_jinja_template(
        conversations=[asked["messages"]],
        chat_template=asked["source"],
        add_generation_prompt=asked["answering"],
        **asked["values"],
    )
    return str(rendered[0][0])


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = _text(asked)
        if len(text) > asked["most"]:
            return {"over": "length"}
        text.encode()  # half of a surrogate pair is no text for a tokenizer or a server
    except MemoryError:
        return {"over": "memory"}
    except Exception as error:
        # Whatever it is, the template raised it: Jinja's errors, those of Python's expressions, and SyntaxError,
        # because Jinja compiles a template to Python, which limits the depth of loops.
        return {"refused": _words(error), "syntax": isinstance(error, TemplateSyntaxError | SyntaxError)}
    return {"text": text}


def _words(error: Exception) -> str:
    """What the error says, short enough to show, and without characters that PostgreSQL does not store."""
    words = (str(error) or type(error).__name__)[:MOST_WORDS]
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in words)


def _bound_memory(more: int) -> None:
    """Allow this process `more` bytes beyond what it has. Systems without /proc do not enforce such a limit either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as file:
            has = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (has + more, has + more))


def _bound_time(seconds: float) -> None:
    """The kernel ends this process if it goes on computing after the worker is gone."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main(style: str, memory: int) -> None:
    # Ctrl-C, and what stops a service, reach all its processes. The worker still needs this one for the prompt that it
    # has begun, and then ends it; if the worker is gone, the end of the input does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints is no answer
    if style == "transformers":
        import transformers.utils.chat_template_utils  # noqa: F401  # before the limit on memory
    _bound_memory(memory)
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        _bound_time(asked["seconds"])
        try:
            said = json.dumps(_answer(asked))
        except MemoryError:
            said = '{"over": "memory"}'
        answers.write(said + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
