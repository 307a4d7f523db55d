"""The process that renders chat templates for templates.py: one JSON object per line in, one per line out.

A script, so that it loads neither torch nor the worker. The kernel limits its memory; templates.py its time.
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

MOST_WORDS = 1000

# A line of templates.py, as JSON values.
Asked = Mapping[str, Any]


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    # As in transformers.
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)


def _text(asked: Asked) -> str:
    if asked["style"] == "server":
        return _compiled(asked["source"]).render(
            messages=asked["messages"], add_generation_prompt=asked["answering"], **asked["values"]
        )
    from transformers.utils.chat_template_utils import render_jinja_template

    # Contrary to its annotation, it returns texts and positions.
    rendered: Any = render_jinja_template(
        conversations=[asked["messages"]],
        chat_template=asked["source"],
        add_generation_prompt=asked["answering"],
        **asked["values"],
    )
    return str(rendered[0][0])


def _answer(asked: Asked) -> dict[str, object]:
    try:
        text = _text(asked)
        if len(text) > asked["most"]:
            return {"over": "length"}
        text.encode()  # raises for half of a surrogate pair
    except MemoryError:
        return {"over": "memory"}
    except Exception as error:
        # SyntaxError: Jinja compiles templates to Python, which limits the depth of loops.
        return {"refused": _words(error), "syntax": isinstance(error, TemplateSyntaxError | SyntaxError)}
    return {"text": text}


def _words(error: Exception) -> str:
    """Shortened, without characters that PostgreSQL refuses."""
    words = (str(error) or type(error).__name__)[:MOST_WORDS]
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in words)


def _bound_memory(more: int) -> None:
    """Allow `more` bytes beyond the present size. Systems without /proc do not enforce such a limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as file:
            has = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (has + more, has + more))


def _bound_time(seconds: float) -> None:
    """Ends this process if it still computes after the worker has died."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main(style: str, memory: int) -> None:
    # These signals reach all processes of a service, but the worker needs this one until it has finished its prompt.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # keeps the output of libraries out of the answers
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
