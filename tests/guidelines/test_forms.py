import pytest

from annotate.guidelines.forms import DraftForm, GuidelineForm


def test_a_draft_keeps_its_markdown():
    form = DraftForm({"body": "\r\n    code  \r\n\r\n- item\r\n\r\n", "summary": " Shorter. "})
    assert form.is_valid()
    assert form.cleaned_data == {"body": "    code  \n\n- item", "summary": "Shorter."}


@pytest.mark.parametrize("body", ["", " \n\t\n", "\u200b\n"])
def test_an_empty_draft_is_refused(body):
    form = DraftForm({"body": body})
    assert not form.is_valid()
    assert list(form.errors) == ["body"]


def test_a_new_guideline_has_a_name_and_a_text():
    assert list(GuidelineForm().fields) == ["name", "body"]
    form = GuidelineForm({"name": "n" * 121, "body": "Be kind."})
    assert not form.is_valid()
    assert list(form.errors) == ["name"]
