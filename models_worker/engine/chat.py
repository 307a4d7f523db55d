from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from models_worker.engine import templates
from models_worker.engine.templates import Allowance, OverLimit, Refused
from models_worker.engine.types import SamplerUnusable

# Workers that only sample servers need no transformers.
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]

ROLES = ("system", "user", "assistant")

# For base models. Completions record its name: a change needs a new version.
# Line breaks are values, because Jinja drops a line break after a tag.
PLAIN_V1 = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}User: {% elif message['role'] == 'assistant' %}Assistant: {% endif %}"
    "{{ message['content'] + '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
PLAIN_STOPS = ("\n\nUser:", "\nUser:")


class ChatError(Exception):
    """The policy cannot answer these messages. The message says why."""


class PromptTooLong(ChatError):
    """Truncation cannot make the prompt short enough."""


class BadTemplate(ChatError):
    """The template is not valid Jinja."""


class TemplateOverLimit(ChatError):
    """The template exceeded a limit of time, memory or length."""


@dataclass
class Overruns:
    """Counts consecutive prompts that exceed the template's limits; each costs the full time limit."""

    most: int = 5
    count: int = 0

    def note(self, error: ChatError | None) -> None:
        """error: None if the prompt was rendered. Raises SamplerUnusable at `most`."""
        self.count = self.count + 1 if isinstance(error, TemplateOverLimit) else 0
        if self.count == self.most:
            raise SamplerUnusable(str(error))


@dataclass(frozen=True)
class Template:
    """name: "tokenizer", "policy" or "plain-v1". source: Jinja. stop: strings that begin the next turn. lead: what the
    policy writes before its answer. begins_text: the tokenizer must add the begin-of-text token."""

    name: str
    source: str
    stop: tuple[str, ...] = ()
    lead: str = ""
    begins_text: bool = False

    @property
    def whose(self) -> str:
        return f"{self.name}'s" if self.name in ("tokenizer", "policy") else self.name

    @property
    def sha256(self) -> str:
        return sha256(self.source.encode()).hexdigest()


PLAIN = Template("plain-v1", PLAIN_V1, stop=PLAIN_STOPS, lead=" ", begins_text=True)


def choose_template(tokenizer: "PreTrainedTokenizerBase", override: str = "") -> Template:
    if override == PLAIN.name:
        return PLAIN
    if override:
        return Template("policy", override)
    if tokenizer.chat_template:
        return Template("tokenizer", tokenizer.get_chat_template())
    return PLAIN


@dataclass(frozen=True)
class RenderedPrompt:
    """truncated: the number of tokens left out. sha256: of text as UTF-8, in hexadecimal."""

    text: str
    ids: tuple[int, ...]
    truncated: int
    sha256: str


def render(
    messages: Sequence[Message],
    *,
    tokenizer: "PreTrainedTokenizerBase",
    template: Template,
    max_model_len: int | None,
    max_new_tokens: int,
    examples: Sequence[Message] = (),
) -> RenderedPrompt:
    """Render messages so that the prompt and max_new_tokens fit into max_model_len tokens (None: unlimited).

    examples: messages before every prompt of this policy. A prompt that is too long loses its oldest turns; examples,
    system message and last user turn stay. Raises ChatError or one of its subclasses, and templates.Interrupted.
    """
    _check(messages, tokenizer)
    head, turns = after_examples(examples, messages)
    allowance = Allowance.of_a_prompt()
    text, ids = _encode([*head, *turns], tokenizer, template, allowance)
    whole = len(ids)
    room = whole if max_model_len is None else max_model_len - max_new_tokens
    while len(ids) > room:
        turns = _without_oldest(turns)
        if not turns:
            raise PromptTooLong(
                f"The end of this prompt has {len(ids)} tokens, and at most {max(room, 0)} fit: the policy reads "
                f"{max_model_len} in all, {max_new_tokens} of them kept for its answer."
            )
        text, ids = _encode([*head, *turns], tokenizer, template, allowance)
    return RenderedPrompt(
        text=text, ids=tuple(ids), truncated=whole - len(ids), sha256=sha256(text.encode()).hexdigest()
    )


def turn_end_ids(tokenizer: "PreTrainedTokenizerBase", template: Template) -> frozenset[int]:
    """Many checkpoints declare only an end-of-text token, which chat models never write."""
    answer = "X"
    try:
        text, _ids = _encode(
            [{"role": "user", "content": "Q"}, {"role": "assistant", "content": answer}],
            tokenizer,
            template,
            Allowance.of_a_prompt(),
            answering=False,
        )
    except ChatError:
        return frozenset()
    after = tokenizer(text.rpartition(answer)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return frozenset(each for each in after[:1] if each in tokenizer.all_special_ids)


def check_template(tokenizer: "PreTrainedTokenizerBase", template: Template, examples: Sequence[Message]) -> None:
    """Raises ChatError for a template that is invalid or exceeds its limits, and for examples that it refuses."""
    question = {"role": "user", "content": "Q"}
    if examples:
        _check([*examples, question], tokenizer)
    try:
        _encode([*examples, question], tokenizer, template, Allowance.of_a_prompt())
    except (BadTemplate, TemplateOverLimit):
        raise
    except ChatError:
        if examples:
            raise


def after_examples(examples: Sequence[Message], messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The messages that always stay, and the turns. The prompt's system message replaces that of the examples."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    of_examples = [message for message in examples[:1] if message["role"] == "system"]
    head = [*(system or of_examples), *examples[len(of_examples) :]]
    return head, list(messages[len(system) :])


def _check(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase") -> None:
    if not messages:
        raise ChatError("A prompt needs at least one message.")
    if messages[-1]["role"] != "user":
        raise ChatError("The last message of a prompt must be the user's: it is what the policy answers.")
    for number, message in enumerate(messages, 1):
        if message["role"] not in ROLES:
            raise ChatError(f"Message {number} has the role {message['role']!r}; it can be {', '.join(ROLES)}.")
        if message["role"] == "system" and number > 1:
            raise ChatError(f"Message {number} is a system message; only the first message can be one.")
        # Control tokens in a message would end its turn.
        for token in tokenizer.all_special_tokens:
            if token in message["content"]:
                raise ChatError(f"Message {number} contains {token!r}, which this policy reads as a control token.")


def _without_oldest(turns: list[Message]) -> list[Message]:
    following = (at for at, message in enumerate(turns) if at > 0 and message["role"] == "user")
    return turns[next(following, len(turns)) :]


def _encode(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase",
    template: Template,
    allowance: Allowance,
    *,
    answering: bool = True,
) -> tuple[str, list[int]]:
    # A tokenizer may have several templates with names.
    source = tokenizer.get_chat_template(template.source)
    text = from_template(
        template,
        lambda: templates.render(
            source,
            messages,
            style="transformers",
            allowance=allowance,
            values=tokenizer.special_tokens_map,
            answering=answering,
        ),
    )
    # Separate steps: most templates write begin-of-text, and the tokenizer would add a second one.
    return text, list(tokenizer(text, add_special_tokens=template.begins_text)["input_ids"])


def from_template(template: Template, render: Callable[[], str]) -> str:
    try:
        return render()
    except Refused as refusal:
        kind = BadTemplate if refusal.syntax else ChatError
        raise kind(f"The chat template refuses this prompt: {refusal}") from refusal
    except OverLimit as over:
        raise TemplateOverLimit(
            f"The {template.whose} chat template {over}, and was stopped. Register the policy with a simpler chat "
            "template of its own, or with the template plain-v1."
        ) from over
