"""Comments and notes are stored as they were typed, but for blank lines around them."""

import pytest

from annotate.desk.forms import SkipForm
from annotate.edits.forms import InstructionForm
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
    blank = form({filled.add_prefix(name): " \r\n\t"}, **more)
    blank.is_valid()
    assert blank.cleaned_data[name] == ""
