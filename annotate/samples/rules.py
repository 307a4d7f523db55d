import re
from urllib.parse import urlsplit

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.pools.rules import BadPrompt, Message, canonical_messages

# How a path begins that is not a hub id.
FOLDERS = ("/", "./", "../", "~")
# A server gets only these variables of the worker's environment, so that no manager sends it the database's password.
KEY_NAME = re.compile(r"SERVER_KEY_[A-Z0-9_]+(?<!_FILE)")


class BadExamples(Refusal):
    """Raised with its message."""


def canonical_examples(raw: object) -> list[Message]:
    """Few-shot examples as an optional system message and pairs of a user's and an assistant's message.

    Raises BadExamples.
    """
    if raw is None or raw == "" or raw == []:
        return []
    if not isinstance(raw, list):
        raise BadExamples(_("Few-shot examples are a list of messages. Give each a role and a content."))
    question: object = {"role": "user", "content": "?"}
    try:
        return canonical_messages([*raw, question])[:-1]
    except BadPrompt as bad:
        if isinstance(raw[-1], dict) and raw[-1].get("role") == "user":
            raise BadExamples(_("The last message must be the assistant's: the prompt follows it.")) from bad
        raise BadExamples(str(bad)) from bad


def is_folder(place: str) -> bool:
    return place.startswith(FOLDERS)


class BadServer(Refusal):
    """`field` names the wrong value."""

    def __init__(self, field: str, words: Promise | str) -> None:
        super().__init__(str(words))
        self.field = field


def server_address(typed: str) -> str:
    """The address without the name of an endpoint, and with /v1 if it has no path. Raises BadServer."""
    try:
        parts = urlsplit(typed.strip())
        port = parts.port
    except ValueError as wrong:
        raise BadServer("location", _("This is not an address. Enter it as http://host:8000/v1.")) from wrong
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadServer("location", _("Enter the whole address, with http:// or https://."))
    if parts.username is not None or parts.password is not None:
        raise BadServer(
            "location", _("Leave the user and the password out of the address. Name a key of the worker instead.")
        )
    if parts.query or parts.fragment:
        raise BadServer("location", _("Leave out the ? or the # of the address, and what follows."))
    path = parts.path.rstrip("/")
    if path.endswith("/completions"):
        raise BadServer("location", _("Enter the address up to /v1, without the name of an endpoint."))
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path or '/v1'}"


def check_server(*, served_model: str, endpoint: str, key_name: str, chat_template: str) -> None:
    """Raises BadServer."""
    if not served_model:
        raise BadServer("served_model", _("Enter the name under which the server knows the model."))
    if not endpoint:
        raise BadServer("endpoint", _("Choose the endpoint: chat, or completions."))
    if key_name and not KEY_NAME.fullmatch(key_name):
        raise BadServer(
            "key_name",
            _("Enter the name of a variable such as SERVER_KEY_LAB, in capitals and digits. Do not enter the key."),
        )
    if chat_template and endpoint == "chat":
        raise BadServer(
            "chat_template",
            _("A chat server applies its own template. Choose the endpoint completions to use yours."),
        )
