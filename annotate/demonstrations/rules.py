from dataclasses import dataclass

MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Length:
    words: int
    characters: int


def length(text: str) -> Length:
    """Count words between white space, and all characters, as the limit does."""
    return Length(words=len(text.split()), characters=len(text))
