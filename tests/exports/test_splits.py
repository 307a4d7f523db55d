"""A leak between training and validation stops the export."""

import json

import pytest
from django.core.management import CommandError, call_command

from annotate.pools.models import ImportJob, Prompt, PromptGroup, QuarantineReason, Source, Split
from annotate.pools.quarantine import Case
from annotate.pools.rules import content_hash
from exports import manifest
from exports.formats import jsonl
from exports.rows import sft
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


def prompts(written):
    """The ids of the prompts of the training and of the validation files."""
    return [written.lines("ppo", split)[0]["prompt_id"] for split in (Split.TRAIN, Split.VALID)]


def test_a_clean_export_passes(written):
    assert manifest.survey(written.folder).statistic(sft.STATISTIC, Split.TRAIN) == 1


@pytest.mark.parametrize("kind", ["sft", "rm", "rm_pairs", "ppo"])
def test_a_customer_on_both_sides_fails_whatever_the_file_and_the_group(written, kind):
    """Their names are compared as group keys are: case, spacing and compatibility characters make no difference."""
    train, valid = prompts(written)
    Prompt.objects.filter(id=train).update(source_user="Acme")
    Prompt.objects.filter(id=valid).update(source_user=" ＡCME")
    for other in {"sft", "rm", "rm_pairs", "ppo"} - {kind}:
        (written.folder / jsonl.file_name(other, Split.TRAIN)).unlink()
    with pytest.raises(Leak) as leak:
        manifest.survey(written.folder)
    assert (leak.value.owners, leak.value.texts) == (1, 0)
    assert leak.value.cases == [Case(valid, train, QuarantineReason.OTHER_SIDE)]
    assert f": {valid}." in str(leak.value)


def test_of_a_customer_on_both_sides_the_side_of_their_group_stays(written):
    train, valid = prompts(written)
    Prompt.objects.filter(id__in=[train, valid]).update(source_user="Acme")
    make.group("customer:acme", split=Split.VALID)
    with pytest.raises(Leak) as leak:
        manifest.survey(written.folder)
    assert leak.value.cases == [Case(train, valid, QuarantineReason.OTHER_SIDE)]


def test_an_edit_on_the_other_side_than_its_original_fails_whoever_wrote_it(written):
    train, valid = prompts(written)
    Prompt.objects.filter(id=valid).update(parent=train, author=make.user())
    with pytest.raises(Leak) as leak:
        manifest.survey(written.folder)
    assert (leak.value.owners, leak.value.texts) == (1, 0)


def test_a_writer_on_both_sides_fails(written):
    Prompt.objects.filter(id__in=prompts(written)).update(author=make.user(), source=Source.LABELER)
    with pytest.raises(Leak) as leak:
        manifest.survey(written.folder)
    assert (leak.value.owners, leak.value.texts) == (1, 0)


def test_who_edits_prompts_of_both_sides_is_no_leak(day, export):
    """An edit keeps its original's words, so its lineage decides about its side, and not who wrote it."""
    author = make.user()
    for split in Split:
        original = day.prompt(f"For {split}.", split)
        edit = make.prompt(day.pool, f"Edit for {split}.", in_group=original.group, parent=original, author=author)
        answers.demonstration(day.demonstrations, edit, day.labeler)
    assert export().manifest["prompts"]["valid"]["sft_labeler"] == 1


def test_a_source_user_is_in_no_file(day, export):
    prompt = day.prompt("For a customer.", Split.TRAIN, Source.CUSTOMER, source_user="Acme & Sons")
    answers.demonstration(day.demonstrations, prompt, day.labeler)
    assert not [name for name, content in export().bytes.items() if b"Acme" in content or b"acme" in content]


@pytest.mark.parametrize("kind", ["sft", "rm", "rm_pairs", "ppo"])
def test_a_prompt_text_on_both_sides_fails_whatever_its_line_ends_and_outer_blank_lines(written, kind):
    change(written, kind, Split.TRAIN, prompt=[{"role": "user", "content": " \r\nFor valid.\r\n"}])
    with pytest.raises(Leak) as leak:
        manifest.survey(written.folder)
    assert (leak.value.owners, leak.value.texts) == (0, 1)
    train, valid = prompts(written)
    assert leak.value.cases == [Case(valid, train, QuarantineReason.EQUAL_TEXT)]


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


OF_ANSWERS = ("example", "labeler", "campaign", "guideline", "submitted_at")


def test_exported_prompts_are_on_the_same_side_when_another_platform_imports_them(day, export):
    for number in range(3):
        for split in Split:
            day.prompt(f"{number} for {split}.", split, Source.CUSTOMER)
    written = export()
    # The platform they come to has none of them.
    Prompt.objects.all().delete()
    PromptGroup.objects.all().delete()
    for split in Split:
        call_command("import_prompts", "elsewhere", str(written.folder / f"ppo_{split}.jsonl"), "--create")
    assert {(job.taken, job.refused, tuple(job.ignored_fields)) for job in ImportJob.objects.all()} == {(3, 0, ())}
    sides = {prompt.text: prompt.group.split for prompt in Prompt.objects.select_related("group")}
    assert sides == {f"{number} for {split}.": split for number in range(3) for split in Split}


def test_exported_answers_come_back_as_prompts_with_a_reference_once_their_labelers_are_left_out(written):
    path = str(written.folder / "sft_valid.jsonl")
    with pytest.raises(CommandError, match="labeler"):
        call_command("import_prompts", "elsewhere", path, "--create")
    ignore = [option for name in OF_ANSWERS for option in ("--ignore", name)]
    call_command("import_prompts", "elsewhere", path, "--create", *ignore)
    prompt = Prompt.objects.get(pool__name="elsewhere")
    assert prompt.group.split == Split.VALID
    assert prompt.reference["completion"][0]["role"] == "assistant"


def test_where_they_come_from_exported_prompts_are_duplicates(day, export):
    messages = [{"role": "user", "content": "For valid."}]
    day.prompt("For valid.", Split.VALID, Source.CUSTOMER, content_hash=content_hash(messages))
    written = export()
    with pytest.raises(CommandError, match="Nothing was taken"):
        call_command("import_prompts", day.pool.name, str(written.folder / "ppo_valid.jsonl"))
    assert Prompt.objects.count() == 1
