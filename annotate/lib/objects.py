from django.utils.translation import gettext as _


class Repeated(ValueError):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        # JSON names may contain NUL and lone surrogates.
        self.name = name[:100].encode(errors="replace").decode().replace("\x00", "\ufffd")

    def __str__(self) -> str:
        return _("The field %(name)s occurs twice. Remove one of the two.") % {"name": self.name}


def each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """`object_pairs_hook` for json, which would silently keep the last value. Raises Repeated."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name, value in pairs:
            if value != fields[name]:
                raise Repeated(name)
    return fields
