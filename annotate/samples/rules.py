"""What a policy may be registered with: where it is served, and what stands before every prompt."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.pools.rules import BadPrompt, Message, canonical_messages

# What a person types where a folder is meant, although the checkpoint comes from a hub.
FOLDERS = ("/", "./", "../", "~")
# Only what the worker's environment calls so is sent to a server, or a manager could ask for its database's password.
KEY_NAME = re.compile(r"SERVER_KEY_[A-Z0-9_]+(?<!_FILE)")


class BadExamples(Refusal):
    """These messages cannot stand before a prompt; the words are for the person who wrote them."""


def canonical_examples(raw: object) -> list[Message]:
    """Few-shot examples in one form: an optional system message, then pairs of a user's and an assistant's message.

    Nothing is a list without messages. Raises BadExamples.
    """
    if raw is None or raw == "" or raw == []:
        return []
    if not isinstance(raw, list):
        raise BadExamples(_("Few-shot examples are a list of messages, each with a role and a content."))
    question: Any = {"role": "user", "content": "?"}
    try:
        # They are what stands before a question, and so they are good if a question can follow.
        return canonical_messages([*raw, question])[:-1]
    except BadPrompt as bad:
        if isinstance(raw[-1], dict) and raw[-1].get("role") == "user":
            raise BadExamples(_("The last message must be the assistant's: the prompt follows it.")) from bad
        raise BadExamples(str(bad)) from bad


def is_folder(place: str) -> bool:
    """Is the place of a hub checkpoint's adapter a folder on the worker, and no hub id?"""
    return place.startswith(FOLDERS)


class BadServer(Refusal):
    """No server can be asked like this. `field`: which value is wrong; the words are for the person who typed it."""

    def __init__(self, field: str, words: Any) -> None:
        super().__init__(str(words))
        self.field = field


def server_address(typed: str) -> str:
    """The address of a server in one form, up to what its endpoints have in common. Raises BadServer.

    `http://gpu1:8000` becomes `http://gpu1:8000/v1`: that is where nearly all of them have their API.
    """
    try:
        parts = urlsplit(typed.strip())
        port = parts.port
    except ValueError as wrong:
        raise BadServer("location", _("This is no address: write http://host:8000/v1.")) from wrong
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadServer("location", _("Write the whole address, beginning with http:// or https://."))
    if parts.username is not None or parts.password is not None:
        raise BadServer(
            "location", _("Leave the user and the password out of the address: name a key of the worker instead.")
        )
    if parts.query or parts.fragment:
        raise BadServer("location", _("Leave out what follows the ? or the # of the address."))
    path = parts.path.rstrip("/")
    if path.endswith("/completions"):
        raise BadServer("location", _("Write the address up to /v1, without the name of an endpoint."))
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path or '/v1'}"


def check_server(*, served_model: str, endpoint: str, key_name: str, chat_template: str) -> None:
    """Raises BadServer."""
    if not served_model:
        raise BadServer("served_model", _("Write the name under which the server knows the model."))
    if not endpoint:
        raise BadServer("endpoint", _("Say how the server is asked: chat, or completions."))
    if key_name and not KEY_NAME.fullmatch(key_name):
        raise BadServer(
            "key_name",
            _("Write the name of a key in the worker's environment, as SERVER_KEY_LAB: capitals and digits, no key."),
        )
    if chat_template and endpoint == "chat":
        raise BadServer(
            "chat_template", _("A chat server applies its own template. Choose completions to have the text made here.")
        )
