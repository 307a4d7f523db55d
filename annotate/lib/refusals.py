"""Errors for the person who requested an action.

Views need not catch them: `shown_in` adds them to a form, `post_or_redirect` shows them on a page, and the API answers
409.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.utils.functional import Promise

if TYPE_CHECKING:
    from django.forms import BaseForm


class Refusal(Exception):
    """The action changed nothing. The message says why and what to do.

    Subclasses set `message` or override `__str__`; otherwise the message is an argument.
    """

    message: str | Promise = ""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        silent = isinstance(self.message, str) and not self.message and type(self).__str__ is Refusal.__str__
        if silent and not args:
            raise TypeError(f"{type(self).__name__} has no message")

    def __str__(self) -> str:
        return str(self.message) or str(self.args[0])


@contextmanager
def shown_in(form: "BaseForm", field: str | None = None) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        form.add_error(field, str(refusal))
