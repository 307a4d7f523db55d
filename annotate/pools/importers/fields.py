import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.lib.text import composed, storable

# CSV cells that are no text in JSON.
NO_TEXT: Final = re.compile(
    r"\s*([+-]?[\d.,]+(e[+-]?\d+)?|true|false|yes|no|null|none|nan|-?inf(inity)?|)\s*", re.IGNORECASE
)
MAX_NAME_LENGTH: Final = 100
MAX_EXAMPLE_LENGTH: Final = 120


class BadField(Refusal):
    """A field of the line is invalid."""


def text_of(fields: Mapping[str, object], *names: str) -> str:
    """Return the first text of these fields, or "". Raises BadField if two differ.

    17, 17.0 and "17" are the same id.
    """
    given = {name: text for name in names if (text := _text(name, fields.get(name, ""))).strip()}
    check_agree(given, {text.strip() for text in given.values()})
    return next(iter(given.values()), "")


def check_agree(names: Iterable[str], values: Iterable[object]) -> None:
    if len(list(values)) > 1:
        raise contradiction(names)


def contradiction(names: Iterable[str]) -> BadField:
    return BadField(
        _("The fields %(names)s say different things, but mean the same. Keep one of them.")
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


def id_of(fields: Mapping[str, object], *names: str) -> str:
    """Return an id in the form in which ids are compared."""
    return composed(text_of(fields, *names)).strip()


def holds_text(value: object) -> bool:
    if isinstance(value, str):
        return not NO_TEXT.fullmatch(value)
    if isinstance(value, Mapping):
        return any(map(holds_text, value.values()))
    return isinstance(value, list) and any(map(holds_text, value))


def check_storable(name: str, value: object) -> None:
    """Raise BadField if PostgreSQL cannot store the value."""
    if not _storable(value):
        raise BadField(
            _(
                "The field %(name)s holds something that cannot be stored: NUL, half of a surrogate pair, or an "
                "infinite number. Remove it."
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


def without(fields: Mapping[str, object], ignore: Iterable[str]) -> dict[str, object]:
    names = set(ignore)
    return {name: value for name, value in fields.items() if shown(name) not in names}


def shown(text: str, longest: int = MAX_NAME_LENGTH) -> str:
    return text[:longest].encode(errors="replace").decode().replace("\x00", "\ufffd")


def example(value: object) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), MAX_EXAMPLE_LENGTH)
