"""The answers are handed in through the desk's real pages."""

from tests.desk.conftest import labeler, rankings

__all__ = ["labeler", "rankings"]
