"""What may stand before every prompt of a policy."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from annotate.pools.rules import BadPrompt, Message, canonical_messages

# What a person types where a folder is meant, although the checkpoint comes from a hub.
FOLDERS = ("/", "./", "../", "~")


class BadExamples(Exception):
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
