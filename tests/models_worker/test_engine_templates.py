"""Chat templates that ask for too much are stopped, and the next prompt is rendered as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from models_worker.engine import templates
from models_worker.engine.chat import (
    PLAIN,
    BadTemplate,
    ChatError,
    Message,
    Overruns,
    Template,
    TemplateOverLimit,
    check_template,
    choose_template,
    render,
)
from models_worker.engine.loader import load_policy
from models_worker.engine.openai_engine import OpenAISampler
from models_worker.engine.server import Server
from models_worker.engine.types import SamplerUnusable
from tests.models_worker.tiny import save_tiny, tiny_tokenizer

QUESTION: list[Message] = [{"role": "user", "content": "Hi"}]
NESTED = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
# Beyond its limit a rendering is stopped within this many seconds, on a machine that is busy with other things.
MARGIN = 5.0


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second in place of ten. The processes are started before: that time does not count."""
    for style in ("transformers", "server"):
        text_of("{{ messages[0].content }}", style=style)
    monkeypatch.setattr(templates, "SECONDS", 1.0)


def text_of(source: str, *, style: templates.Style = "transformers", messages: list[Message] | None = None) -> str:
    return templates.render(
        source, messages or QUESTION, style=style, allowance=templates.Allowance.of_a_prompt(), answering=True
    )


def seconds_of(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


SLOW = [
    NESTED,
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 9 ** (9 ** 9) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ '%0999999999d' % 1 }}",
    "{{ 'a'|center(10 ** 10) }}",
    "{{ (['a'] * 10 ** 9)|join }}",
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s|length }}",
    "{{ 'ab' * 2000000 }}",
]


# The limits are the same for both, and the process for transformers takes longer to start again.
@pytest.mark.parametrize(
    ("style", "source"), [("server", each) for each in SLOW] + [("transformers", SLOW[0]), ("transformers", SLOW[4])]
)
def test_a_template_that_asks_for_too_much_is_stopped(short: None, style: templates.Style, source: str) -> None:
    with pytest.raises(
        templates.OverLimit, match=r"takes more than 1 sec|needs more than 512 MB|writes more than|ends"
    ):
        text_of(source, style=style)
    assert text_of("{{ messages[0].content }}!", style=style) == "Hi!"


def test_the_refusal_names_the_template_and_the_remedy(short: None, tokenizer: PreTrainedTokenizerFast) -> None:
    for name, whose in (("tokenizer", "tokenizer's"), ("policy", "policy's")):
        with pytest.raises(TemplateOverLimit, match=f"The {whose} chat template takes more than 1 sec.*plain-v1"):
            render_with(tokenizer, Template(name, NESTED))


def render_with(tokenizer: PreTrainedTokenizerFast, template: Template, messages: list[Message] | None = None) -> str:
    return render(
        messages or QUESTION, tokenizer=tokenizer, template=template, max_model_len=None, max_new_tokens=1
    ).text


def test_all_renderings_of_a_prompt_share_one_limit(short: None, tokenizer: PreTrainedTokenizerFast) -> None:
    """A prompt that is too long is rendered again after each turn that is left out."""
    slow = "{% for i in range(600) %}{% for j in range(600) %}{% endfor %}{% endfor %}"
    source = "{% for m in messages %}{{ m.content }}{% endfor %}" + slow * 2
    long = [{"role": role, "content": "word " * 9} for _n in range(100) for role in ("user", "assistant")] + QUESTION

    def act() -> None:
        with pytest.raises(TemplateOverLimit):
            render(long, tokenizer=tokenizer, template=Template("policy", source), max_model_len=20, max_new_tokens=10)

    assert seconds_of(act) < 1 + MARGIN


def test_a_policy_with_such_a_template_is_not_loaded(short: None, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TemplateOverLimit):
        check_template(tokenizer, Template("tokenizer", NESTED), ())
    with pytest.raises(BadTemplate):
        check_template(tokenizer, Template("tokenizer", "{% for %}"), ())
    # It may take other prompts.
    check_template(tokenizer, Template("tokenizer", "{{ raise_exception('not this one') }}"), ())


def test_a_servers_template_has_the_same_limits(short: None) -> None:
    server = Server(url="http://127.0.0.1:9", model="m", endpoint="completions", template=Template("policy", NESTED))
    with pytest.raises(TemplateOverLimit, match="The policy's chat template takes more than 1 sec"):
        OpenAISampler(server).render(QUESTION, max_new_tokens=1)


def test_a_cancelled_run_does_not_wait_for_its_template() -> None:
    text_of("warm")
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()

    def act() -> None:
        with templates.interruptible(cancelled.is_set), pytest.raises(templates.Interrupted):
            text_of(NESTED)

    assert 0.2 < seconds_of(act) < templates.SECONDS / 2
    assert text_of("{{ messages[0].content }}") == "Hi"
    with templates.interruptible(lambda: True), pytest.raises(templates.Interrupted):
        text_of("not even this")


def test_threads_get_each_their_own_text() -> None:
    def render_some(name: str) -> None:
        for number in range(50):
            texts.append(
                text_of("{{ messages[0].content }}", messages=[{"role": "user", "content": f"{name}{number}"}])
            )

    texts: list[str] = []
    threads = [threading.Thread(target=render_some, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == sorted(f"{name}{number}" for name in "abcd" for number in range(50))


def test_a_process_that_was_killed_is_started_again() -> None:
    text_of("warm")
    for child in rendering():
        child.kill()
        child.wait(10)
    assert text_of("{{ messages[0].content }}") == "Hi"


def test_no_template_is_blamed_for_a_process_that_somebody_else_killed() -> None:
    """The kernel kills it when memory is short, also while it renders."""
    text_of("warm", style="server")
    [child] = rendering_of("server")
    idle = child.cpu_times().user
    rendered = threading.Event()

    def kill_while_it_renders() -> None:
        while child.cpu_times().user < idle + 0.03 and not rendered.is_set():
            time.sleep(0.005)
        child.kill()

    killer = threading.Thread(target=kill_while_it_renders)
    killer.start()
    busy = "{% for i in range(500) %}{% for j in range(10000) %}{% endfor %}{% endfor %}"
    try:
        assert text_of(busy + "{{ messages[0].content }}", style="server") == "Hi"
        assert rendering_of("server") not in ([], [child])
    finally:
        rendered.set()
        killer.join()


def test_a_template_that_ends_each_process_that_renders_it_is_named() -> None:
    text_of("warm", style="server")
    stop = threading.Event()

    def kill_all() -> None:
        while not stop.is_set():
            with suppress(psutil.Error):
                for child in rendering_of("server"):
                    child.kill()
            time.sleep(0.05)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises((templates.OverLimit, OSError), match=r"ends the process|does not start"):
            text_of(NESTED, style="server")
    finally:
        stop.set()
        killer.join()
    assert text_of("{{ messages[0].content }}", style="server") == "Hi"


def test_more_loops_in_each_other_than_python_takes_are_refused_as_no_template() -> None:
    text_of("warm", style="server")
    before = rendering_of("server")
    with pytest.raises(templates.Refused, match="too many levels of indentation") as refused:
        text_of("{% for a in b %}" * 100 + "{% endfor %}" * 100, style="server")
    assert refused.value.syntax
    assert rendering_of("server") == before


def test_a_cancelled_run_does_not_wait_for_the_template_of_another() -> None:
    text_of("warm", style="server")
    cancelled = threading.Event()
    [child] = rendering_of("server")
    idle = child.cpu_times().user

    def render_for_another() -> None:
        with pytest.raises(templates.OverLimit):
            text_of(NESTED, style="server")

    other = threading.Thread(target=render_for_another)
    other.start()
    while child.cpu_times().user < idle + 0.03:
        time.sleep(0.005)
    threading.Timer(0.2, cancelled.set).start()

    def act() -> None:
        with templates.interruptible(cancelled.is_set), pytest.raises(templates.Interrupted):
            text_of("x", style="server")

    assert seconds_of(act) < templates.SECONDS / 2
    other.join()


def rendering_of(style: templates.Style) -> list[psutil.Process]:
    return [each for each in rendering() if style in each.cmdline()]


def rendering() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [each for each in children if any(word.endswith("template_process.py") for word in each.cmdline())]


def test_what_a_template_raises_is_short_and_can_be_stored() -> None:
    """Its words become a row of the database for each prompt."""
    for source in (
        r"{{ messages['a\x00\ud800\n' * 100000].x }}",
        r"{{ messages[0][%s].x }}" % ("'" + "a" * 100_000 + "'"),
        "{{ " + "a" * 100_000 + " b }}",
    ):
        with pytest.raises(templates.Refused) as refused:
            text_of(source, style="server")
        words = str(refused.value)
        assert len(words.encode()) < 20_000
        assert "\x00" not in words
    with pytest.raises(templates.Refused, match=r"^a\\x00\\ud800\nb$"):
        text_of(r"{{ raise_exception('a\x00\ud800\nb') }}")


def test_half_of_a_surrogate_pair_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    """No tokenizer takes it, nor can it be hashed or sent: it would end the run rather than fail the prompt."""
    source = r"{{ messages[0].content }}{{ '\ud800' }}"
    with pytest.raises(ChatError, match="surrogates not allowed"):
        render_with(tokenizer, Template("policy", source))
    with pytest.raises(templates.Refused, match="surrogates not allowed"):
        text_of(source, style="server")


def test_what_stops_a_service_leaves_the_prompt_that_is_rendered_its_process() -> None:
    """systemd and shells send their signals to all processes of a service: no template is at fault for that."""
    text_of("warm", style="server")
    before = rendering()
    for child in before:
        for number in (signal.SIGINT, signal.SIGTERM):
            child.send_signal(number)
    assert text_of("{{ messages[0].content }}", style="server") == "Hi"
    assert rendering() == before


def test_a_template_is_not_given_the_workers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY_EXAMPLE", "sk-secret")
    templates.stop()
    text_of("warm")
    for child in rendering():
        assert not {"SERVER_KEY_EXAMPLE", "DATABASE_URL", "SECRET_KEY"} & child.environ().keys()


def test_usual_prompts_are_rendered_as_transformers_does_and_as_fast(tokenizer: PreTrainedTokenizerFast) -> None:
    """A thousand of them, in processor time of both processes: it does not depend on what else the machine does."""
    template = choose_template(tokenizer)
    prompts = [[{"role": "user", "content": f"Question {number} " * 20}] for number in range(1000)]
    expected = [tokenizer.apply_chat_template(each, tokenize=False, add_generation_prompt=True) for each in prompts]
    render_with(tokenizer, template)
    [child] = rendering_of("transformers")

    def used() -> float:
        times = child.cpu_times()
        return time.process_time() + float(times.user + times.system)

    before = used()
    texts = [render_with(tokenizer, template, each) for each in prompts]
    assert used() - before < 5
    assert texts == expected


def test_after_some_prompts_in_a_row_a_template_is_given_up() -> None:
    overruns, over = Overruns(most=3), TemplateOverLimit("too slow")
    for error in (over, over, None, over, over, ChatError("another matter"), over, over):
        overruns.note(error)
    with pytest.raises(SamplerUnusable, match="too slow"):
        overruns.note(over)


NAMES = st.sampled_from(["messages", "messages[0].content", "'ab'", "[1, 2]", "7", "range(999)", "x", "loop.index"])
FILTERS = st.sampled_from(
    "length list string join upper tojson center(9999999) indent(99999) wordcount urlize batch(2)|list "
    "replace('','abcdefgh') sort reverse|list format(1) escape pprint sum".split()
)
EXPRESSIONS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["*", "**", "+", "~", "%", "//", "in"]), inner),
        st.builds("({})|{}".format, inner, FILTERS),
        st.builds("range({})".format, inner),
    ),
    max_leaves=8,
)
SOURCES = st.recursive(
    st.builds("{{{{ {} }}}}".format, EXPRESSIONS),
    lambda inner: st.one_of(
        st.builds("{{% for x in {} %}}{}{{% endfor %}}".format, EXPRESSIONS, inner),
        st.builds("{{% set x = {} %}}{}".format, EXPRESSIONS, inner),
        st.builds("{{% macro m(x) %}}{}{{{{ m(x) }}}}{{% endmacro %}}{{{{ m(1) }}}}".format, inner),
        st.builds("{}{}".format, inner, inner),
    ),
    max_leaves=5,
)


def test_no_template_found_at_random_holds_the_worker_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of templates made at random the slowest is changed again and again: none gets past the limit."""
    text_of("warm", style="server")
    monkeypatch.setattr(templates, "SECONDS", 0.3)
    found: list[tuple[float, str]] = []

    def spent(source: str) -> float:
        began = time.monotonic()
        try:
            text_of(source, style="server")
        except (templates.Refused, templates.OverLimit):
            pass
        took = time.monotonic() - began
        found.append((took, source))
        return took

    @seed(20261128)
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(SOURCES)
    def search(source: str) -> None:
        spent(source)

    search()
    draw = random.Random(20261128)
    for _round in range(15):
        slowest = max(found)[1]
        spent(draw.choice([slowest * 2, f"{{% for y in range(300) %}}{slowest}{{% endfor %}}", f"{slowest}{NESTED}"]))
    # A process that has to be started again takes a second or two, which the limit does not count.
    assert max(found)[0] < 0.3 + templates.SECONDS_TO_START / 10
    assert text_of("{{ messages[0].content }}", style="server") == "Hi"


@pytest.mark.parametrize("of", ["tokenizer", "plain"])
def test_no_prompt_found_at_random_is_slow_for_the_templates_we_have(
    tokenizer: PreTrainedTokenizerFast, of: str
) -> None:
    """The time grows with the length of the messages and with nothing else in them."""
    template = PLAIN if of == "plain" else choose_template(tokenizer)
    draw, took = random.Random(7), list[float]()
    pieces = ["a", "{{", "{% for", " ", "\n", "é", "中", "🙂", "'", '"', "\\", "<|", "|>", "User:", "\u2028"]
    render_with(tokenizer, template)
    for _round in range(40):
        piece = "".join(draw.choices(pieces, k=draw.randint(1, 6)))
        content = piece * (20_000 // len(piece))
        turns = draw.choice([1, 3, 31])
        share = max(1, len(content) // turns)
        messages = [
            {"role": "user" if at % 2 == 0 else "assistant", "content": content[at * share : (at + 1) * share] or "a"}
            for at in range(turns)
        ]
        allowance = templates.Allowance.of_a_prompt()
        templates.render(template.source, messages, style="transformers", allowance=allowance)
        took.append(templates.SECONDS - allowance.seconds)
    assert max(took) < templates.SECONDS / 10


def test_a_checkpoint_with_such_a_template_can_be_repaired_by_a_template_of_the_policy(
    short: None, tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path)
    (folder / "chat_template.jinja").write_text(NESTED)
    with pytest.raises(Exception, match=r"chat template takes more than 1 sec.*plain-v1"):
        load_policy(str(folder), device="cpu")
    assert load_policy(str(folder), device="cpu", chat_template="plain-v1").template == PLAIN


def test_no_process_is_left_when_the_worker_is_killed() -> None:
    """It ends when its pipe does, and a loop is ended by the kernel."""
    code = (
        "import sys; from models_worker.engine import templates as t; "
        "a = t.Allowance(2.0); t.render('warm', [], style='server', allowance=a); "
        "print(t._processes['server']._child.pid, flush=True); "
        f"t.render({NESTED!r}, [], style='server', allowance=t.Allowance(2.0))"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    helper = psutil.Process(int(worker.stdout.readline()))
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    helper.wait(60)
