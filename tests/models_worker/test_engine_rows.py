"""When a sample ends, and what of its tokens is its text. Tokens are bytes here, as in byte-level models."""

import pytest

from models_worker.engine.rows import Ending, Row
from models_worker.engine.types import SampleRequest, SamplingParams

END = 0


def bytes_to_text(token_ids: list[int]) -> str:
    return bytes(token_ids).decode("utf-8", errors="replace")


def row(text: str, *, stop: tuple[str, ...] = (), max_new_tokens: int = 1000, turn: str = "", lead: str = "") -> Row:
    """A row that was given the bytes of a text one after the other, until it ended."""
    ending = Ending(frozenset({END}), (turn,) if turn else (), lead, bytes_to_text)
    request = SampleRequest("p", 0, (1, 2), SamplingParams(stop=stop, max_new_tokens=max_new_tokens), seed=1)
    written = Row(0, request, ending)
    for token_id in text.encode():
        if written.finish_reason:
            break
        written.take(token_id, -0.5, broken=False)
    return written


def test_an_end_token_ends_it_and_is_not_text() -> None:
    result = row("Yes.\0more").result()
    assert (result.text, result.finish_reason, len(result.token_ids)) == ("Yes.", "stop", 5)
    assert result.sum_logprob == -2.5


def test_an_end_token_in_the_last_place_is_an_end_and_no_cut() -> None:
    assert row("Yes.\0", max_new_tokens=5).result().finish_reason == "stop"
    assert row("Yes.!", max_new_tokens=5).result().finish_reason == "length"


def test_the_earliest_stop_string_cuts() -> None:
    result = row("one; two\n\nthree", stop=("\n\n", "o\n")).result()
    assert (result.text, result.finish_reason) == ("one; tw", "stop")


def test_a_stop_string_may_be_longer_than_what_is_usual() -> None:
    stop = "-" * 200
    assert row(f"before{stop}after", stop=(stop,)).result().text == "before"


def test_the_next_turns_heading_ends_an_answer_and_its_lead_is_dropped() -> None:
    result = row(" Yes.\nUser: and", turn="\nUser:", lead=" ").result()
    assert (result.text, result.finish_reason) == ("Yes.", "stop")
    assert row("  def f():\0", lead=" ").result().text == " def f():"


def test_half_a_character_is_no_stop_string() -> None:
    """The last bytes alone would begin inside the first letter, and read as something that was not written."""
    written = row("éa" + "b" * 10, stop=("\N{REPLACEMENT CHARACTER}a",))
    assert written.finish_reason is None


def test_what_overflows_is_an_error_without_text() -> None:
    written = row("Yes")
    written.take(5, -1.0, broken=True)
    result = written.result()
    assert (result.finish_reason, result.text, result.token_ids) == ("error", "", ())
    assert "overflowed" in result.error


def test_an_unfinished_sample_has_no_result() -> None:
    with pytest.raises(ValueError, match="not finished"):
        row("Yes").result()
