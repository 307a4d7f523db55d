"""The fields of a line: reading one that has several names, and telling what would be lost with those nobody reads."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.lib.text import composed, storable

# In CSV everything is a string. These say no more than the number, truth value or nothing that JSON would have there.
NO_TEXT: Final = re.compile(
    r"\s*([+-]?[\d.,]+(e[+-]?\d+)?|true|false|yes|no|null|none|nan|-?inf(inity)?|)\s*", re.IGNORECASE
)
LONGEST_NAME: Final = 100
LONGEST_EXAMPLE: Final = 120


class BadField(Refusal):
    """A field of this line cannot be used; the message says what to do about it."""


def text_of(fields: Mapping[str, Any], *names: str) -> str:
    """The text under the first of the names that has one, or "". Raises BadField if two of them say different things.

    Whole numbers are texts too, for ids and customers: 17, 17.0 and "17" are one id.
    """
    given = {name: text for name in names if (text := _text(name, fields.get(name, ""))).strip()}
    check_agree(given, {text.strip() for text in given.values()})
    return next(iter(given.values()), "")


def check_agree(names: Iterable[str], values: Iterable[object]) -> None:
    """Raises BadField, with the names, unless there is at most one value."""
    if len(list(values)) > 1:
        raise contradiction(names)


def contradiction(names: Iterable[str]) -> BadField:
    return BadField(
        _("The fields %(names)s say different things, and only one of them can be used. Leave out the others.")
        % {"names": ", ".join(names)}
    )


def _text(name: str, value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadField(_("The field %(name)s must be a text or a whole number.") % {"name": name})
    return value


def id_of(fields: Mapping[str, Any], *names: str) -> str:
    """An id in the form in which prompts and completions are compared: composed characters, no space around it."""
    return composed(text_of(fields, *names)).strip()


def holds_text(value: object) -> bool:
    """Is there a text in it that is more than a number, a truth value or nothing?"""
    if isinstance(value, str):
        return not NO_TEXT.fullmatch(value)
    if isinstance(value, Mapping):
        return any(map(holds_text, value.values()))
    return isinstance(value, list) and any(map(holds_text, value))


def check_storable(name: str, value: object) -> None:
    """Raises BadField for what a column cannot hold. Only fields that are stored are checked."""
    if not _storable(value):
        raise BadField(
            _(
                "The field %(name)s holds something that cannot be stored: NUL, half of a surrogate pair, or a number "
                "without end."
            )
            % {"name": name}
        )


def _storable(value: object) -> bool:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(storable(name) and _storable(item) for name, item in value.items())
    return not isinstance(value, list) or all(map(_storable, value))


def without(fields: Mapping[str, Any], ignore: Iterable[str]) -> dict[str, Any]:
    """The fields but those that somebody decided to leave out."""
    names = set(ignore)
    return {name: value for name, value in fields.items() if shown(name) not in names}


def shown(text: str, longest: int = LONGEST_NAME) -> str:
    """A name or a value of a file as it can be stored and shown."""
    return text[:longest].encode(errors="replace").decode().replace("\x00", "\ufffd")


def example(value: object) -> str:
    """The beginning of a value."""
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), LONGEST_EXAMPLE)
