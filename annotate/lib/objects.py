"""The objects of JSON."""

from typing import Any

from django.utils.translation import gettext as _


class Repeated(ValueError):
    """A name occurs twice in an object, with two values; `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # As it can be shown: JSON writes NUL and halves of surrogate pairs too.
        self.name = name[:100].encode(errors="replace").decode().replace("\x00", "\ufffd")

    def __str__(self) -> str:
        return _("The field %(name)s occurs twice. Keep one of the two.") % {"name": self.name}


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, as json's object_pairs_hook. Of a name that occurs twice, json would keep the last value and say
    nothing. Raises Repeated."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name, value in pairs:
            if value != fields[name]:
                raise Repeated(name)
    return fields
