"""A leak between training and validation stops the export."""

import json

import pytest

from annotate.pools.models import Source, Split
from exports import manifest
from exports.formats import jsonl
from exports.splits import Leak
from tests import factories as make
from tests.exports import answers


@pytest.fixture
def written(day, export):
    for split in Split:
        prompt = day.prompt(f"For {split}.", split, Source.CUSTOMER)
        answers.demonstration(day.demonstrations, prompt, day.labeler)
        answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 2, 3, 4])
    return export()


def change(written, kind, split, **columns):
    """Change the first line of a file, as a mistake on the way there would."""
    path = written.folder / jsonl.file_name(kind, split)
    lines = [line for _raw, line in jsonl.read(path)]
    lines[0] |= columns
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_clean_export_passes(written):
    assert manifest.survey(written.folder).rows("sft", Split.TRAIN) == 1


@pytest.mark.parametrize("kind", ["sft", "rm", "rm_pairs", "ppo"])
def test_a_group_on_both_sides_fails_whatever_the_file(written, kind):
    (other, *_) = written.lines("sft", Split.VALID)
    change(written, kind, Split.TRAIN, group=other["group"])
    with pytest.raises(Leak, match=r"1 groups and 0 prompt texts") as leak:
        manifest.survey(written.folder)
    assert str(other["prompt_id"]) in str(leak.value)


@pytest.mark.parametrize("kind", ["sft", "rm", "rm_pairs", "ppo"])
def test_a_prompt_text_on_both_sides_fails_whatever_its_line_ends_and_outer_blank_lines(written, kind):
    change(written, kind, Split.TRAIN, prompt=[{"role": "user", "content": " \r\nFor valid.\r\n"}])
    with pytest.raises(Leak, match=r"0 groups and 1 prompt texts"):
        manifest.survey(written.folder)


def test_texts_that_differ_in_spacing_are_two_texts(written):
    change(written, "sft", Split.TRAIN, prompt=[{"role": "user", "content": " For  valid. "}])
    manifest.survey(written.folder)


def test_the_same_words_in_another_role_are_another_prompt(written):
    change(written, "sft", Split.TRAIN, prompt=[{"role": "system", "content": "For valid."}])
    manifest.survey(written.folder)


def test_an_export_with_a_leak_is_not_there(day, export, tmp_path):
    """Two groups on two sides with equal prompts: importers prevent it, and the audit does not rely on them."""
    for split in Split:
        prompt = make.prompt(
            make.pool() if split == Split.VALID else day.pool, "The same.", in_group=make.group(split=split)
        )
        answers.demonstration(day.demonstrations, prompt, day.labeler)
    with pytest.raises(Leak):
        export()
    assert list(tmp_path.iterdir()) == []
