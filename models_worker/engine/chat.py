"""From messages to the token ids a policy continues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from jinja2 import TemplateError, TemplateSyntaxError

# Where only servers are asked for completions, there need be no transformers.
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]

ROLES = ("system", "user", "assistant")

# What Jinja raises, and what the expressions of a template make Python raise: a matter of this prompt alone.
TEMPLATE_ERRORS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)

# For base models, which have no template of their own. A version never changes: completions name the one they had.
# Line breaks are written as values, because Jinja drops one that follows a tag.
PLAIN_V1 = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}User: {% elif message['role'] == 'assistant' %}Assistant: {% endif %}"
    "{{ message['content'] + '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
PLAIN_STOPS = ("\n\nUser:", "\nUser:")


class ChatError(Exception):
    """These messages cannot be put to this policy; the message says why."""


class PromptTooLong(ChatError):
    """What must stay of the prompt does not fit beside the answer."""


@dataclass(frozen=True)
class Template:
    """How messages become text.

    name: "tokenizer", "policy" or "plain-v1". source: Jinja. stop: strings that begin the next turn. lead: what the
    policy writes between the template's end and its answer. begins_text: the tokenizer adds its own begin-of-text
    token, which other templates write themselves.
    """

    name: str
    source: str
    stop: tuple[str, ...] = ()
    lead: str = ""
    begins_text: bool = False

    @property
    def sha256(self) -> str:
        return sha256(self.source.encode()).hexdigest()


PLAIN = Template("plain-v1", PLAIN_V1, stop=PLAIN_STOPS, lead=" ", begins_text=True)


def choose_template(tokenizer: "PreTrainedTokenizerBase", override: str = "") -> Template:
    """The policy's own template if it has one (Jinja, or the name "plain-v1"), else the tokenizer's, else plain-v1."""
    if override == PLAIN.name:
        return PLAIN
    if override:
        return Template("policy", override)
    if tokenizer.chat_template:
        return Template("tokenizer", tokenizer.get_chat_template())
    return PLAIN


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt as the policy reads it.

    text and ids: what is left after truncation; ids is text, tokenised. truncated: how many tokens were left out.
    sha256: of text as UTF-8, in hexadecimal.
    """

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
    """Render messages so that the prompt and max_new_tokens fit into max_model_len tokens (None: no limit known).

    examples: messages that stand before every prompt of this policy.
    What does not fit loses its oldest turns, whole: examples, system message and the last user turn always stay.
    Raises PromptTooLong if those alone are too long, ChatError if the messages make no prompt.
    """
    _check(messages, tokenizer)
    head, turns = after_examples(examples, messages)
    text, ids = _encode([*head, *turns], tokenizer, template)
    whole = len(ids)
    room = whole if max_model_len is None else max_model_len - max_new_tokens
    while len(ids) > room:
        turns = _without_oldest(turns)
        if not turns:
            raise PromptTooLong(
                f"The end of this prompt has {len(ids)} tokens, and at most {max(room, 0)} fit: the policy reads "
                f"{max_model_len} in all, {max_new_tokens} of them kept for its answer."
            )
        text, ids = _encode([*head, *turns], tokenizer, template)
    return RenderedPrompt(
        text=text, ids=tuple(ids), truncated=whole - len(ids), sha256=sha256(text.encode()).hexdigest()
    )


def turn_end_ids(tokenizer: "PreTrainedTokenizerBase", template: Template) -> frozenset[int]:
    """The special token that the template writes after an answer, if it writes one.

    Many checkpoints name only their end-of-text token, which a chat model never writes.
    """
    answer = "X"
    try:
        text, _ids = _encode(
            [{"role": "user", "content": "Q"}, {"role": "assistant", "content": answer}],
            tokenizer,
            template,
            answering=False,
        )
    except ChatError:
        return frozenset()
    after = tokenizer(text.rpartition(answer)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return frozenset(each for each in after[:1] if each in tokenizer.all_special_ids)


def check_template(tokenizer: "PreTrainedTokenizerBase", template: Template, examples: Sequence[Message]) -> None:
    """Raises ChatError if the template is no Jinja, or if the examples cannot stand before a prompt."""
    question = {"role": "user", "content": "Q"}
    if examples:
        _check([*examples, question], tokenizer)
    try:
        _encode([*examples, question], tokenizer, template)
    except ChatError as error:
        # One that refuses this question alone may take others.
        if examples or isinstance(error.__cause__, TemplateSyntaxError):
            raise


def after_examples(examples: Sequence[Message], messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """What stays whatever its length, and the turns. A prompt's own system message stands for that of the examples."""
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
        # The template is tokenised with its content, so such a text would end the turn it stands in.
        for token in tokenizer.all_special_tokens:
            if token in message["content"]:
                raise ChatError(f"Message {number} contains {token!r}, which this policy reads as a control token.")


def _without_oldest(turns: list[Message]) -> list[Message]:
    """The turns without the first exchange: what is left begins with a user's message again, or is empty."""
    following = (at for at, message in enumerate(turns) if at > 0 and message["role"] == "user")
    return turns[next(following, len(turns)) :]


def _encode(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", template: Template, *, answering: bool = True
) -> tuple[str, list[int]]:
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=template.source,
            tokenize=False,
            add_generation_prompt=answering,
        )
    except TEMPLATE_ERRORS as error:
        raise ChatError(f"The chat template refuses this prompt: {error}") from error
    # In two steps: templates write begin-of-text themselves, and tokenising would add a second one.
    return str(text), list(tokenizer(text, add_special_tokens=template.begins_text)["input_ids"])
