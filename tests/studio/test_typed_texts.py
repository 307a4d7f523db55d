"""Comments and notes are stored as they were typed, but for blank lines around them."""

import pytest

from annotate.desk.forms import SkipForm
from annotate.instructions.forms import BriefsForm, InstructionForm, PairRow
from annotate.rankings.forms import RankingForm
from annotate.studio.forms import DecisionForm

TYPED = "\r\n    if x:\r\n        y()  \r\n\r\n"


@pytest.mark.parametrize("form", [DecisionForm, SkipForm, InstructionForm, RankingForm])
def test_a_comment_keeps_the_indentation_of_its_first_line(form):
    name = "comment" if form is DecisionForm else "note"
    more = {RankingForm: {"candidates": 4}, InstructionForm: {"kind": "plain", "source": None}}.get(form, {})
    filled = form({form(**more).add_prefix(name): TYPED}, **more)
    filled.is_valid()
    assert filled.cleaned_data[name] == "    if x:\n        y()  "
    for nothing in (" \r\n\t", "\u200b", "\u2800 \ufeff"):
        blank = form({filled.add_prefix(name): nothing}, **more)
        blank.is_valid()
        assert blank.cleaned_data[name] == ""


def test_use_cases_that_show_nothing_are_none():
    form = BriefsForm({"kind": "user_based", "use_cases": "\u200b\n  \nA farmer's letters"})
    assert form.is_valid()
    assert form.cleaned_data["use_cases"] == ["A farmer's letters"]


def test_the_fault_of_a_pair_is_at_the_query_that_shows_nothing():
    row = PairRow(1, query="\u200b", response="Positive", error="Write it.")
    assert (row.query_error, row.response_error) == (True, False)
