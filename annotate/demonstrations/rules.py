"""What counts as a demonstration, on plain text."""

from dataclasses import dataclass

MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Length:
    words: int
    characters: int


def length(text: str) -> Length:
    """Words are runs between white space; characters count everything, as the limit does."""
    return Length(words=len(text.split()), characters=len(text))
