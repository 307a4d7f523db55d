"""What an action answers that cannot do what a person asked.

An action raises a Refusal, and its callers do not need to catch it: `shown_in` turns it into an error of a form,
`post_or_redirect` (methods.py) into a message on the page that has the form, and the API (`api/errors.py`) into 409.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.utils.functional import Promise

if TYPE_CHECKING:
    from django.forms import BaseForm


class Refusal(Exception):
    """An action refuses, and has changed nothing. The message tells the person who asked what to do.

    A subclass sets `message`, or it is raised with its message, or it overrides `__str__`.
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
    """Add a refusal to the form's errors, at the field or above all of them. What follows shows the form again."""
    try:
        yield
    except Refusal as refusal:
        form.add_error(field, str(refusal))
