"""manage.py audit_splits: what is on both sides of the split, from raw texts and source users."""

from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from annotate.pools import audit
from annotate.pools.models import Kind, Prompt, PromptGroup, QuarantineMove, QuarantineReason, Source, Split
from annotate.pools.quarantine import Case
from annotate.work.states import State
from annotate.workflows.tasks import fill_campaigns
from tests import factories as make
from tests.pools.test_quarantine import EXAMPLE, SHOTS

pytestmark = pytest.mark.django_db

EQUAL_TEXT, EQUAL_EXAMPLE, OTHER_SIDE = QuarantineReason


@pytest.fixture
def old():
    """old(text, split, ...): a prompt as an earlier version left it, its stored hash worth nothing."""

    def prompt(text, split, *, group=None, **fields):
        values = {"source": Source.CUSTOMER, "content_hash": f"{Prompt.objects.count():064d}"} | fields
        return make.prompt(make.pool(), text, in_group=group or make.group(split=split), **values)

    return prompt


def audited(*options):
    out = StringIO()
    call_command("audit_splits", *options, stdout=out)
    return out.getvalue()


def test_a_clean_database_passes(old):
    old("One.", Split.TRAIN, source_user="Acme")
    old("Two.", Split.VALID, source_user="Zenith")
    assert "0: An equal prompt is on the other side" in audited()


def test_what_is_found_and_left_alone_fails_and_changes_nothing(old):
    kept, copy = old("Same.", Split.TRAIN), old("\nSame.\r\n", Split.VALID)
    out = StringIO()
    with pytest.raises(CommandError, match="--quarantine") as refused:
        call_command("audit_splits", stdout=out)
    assert refused.value.returncode == 1
    assert f"prompt {copy.id} of “{copy.pool}” in valid, against prompt {kept.id} of" in out.getvalue()
    assert "1: An equal prompt is on the other side of the split" in out.getvalue()
    assert not Prompt.objects.exclude(quarantined_at=None).exists()


def test_the_newer_copies_and_their_tasks_are_put_away(old):
    kept, copy = old("Same.", Split.TRAIN), old("Same.", Split.VALID)
    campaign = make.campaign(over=copy.pool)
    fill_campaigns(campaign.pool_id)
    assert "These prompts are in quarantine." in audited("--quarantine")
    copy.refresh_from_db()
    assert (copy.quarantine_reason, copy.quarantine_twin) == (EQUAL_TEXT, kept)
    assert copy.quarantine_events.get().move == QuarantineMove.QUARANTINE
    assert set(campaign.assignments.values_list("state", flat=True)) == {State.STOPPED}
    assert "0: An equal prompt" in audited()


def test_a_customer_in_two_groups_stays_on_the_side_of_the_oldest_prompt(old):
    """As an earlier version left it: a text of q equals one of p, and joined p's group."""
    acme = make.group("customer:p", split=Split.VALID)
    text_of_p = old("t", Split.VALID, group=acme, source_user="P")
    own = old("u", Split.TRAIN, source_user="Q")
    joined = old("t", Split.VALID, group=acme, source_user=" q ")
    assert audit.find() == [Case(joined.id, own.id, OTHER_SIDE)]
    audited("--quarantine")
    assert list(Prompt.objects.filter(quarantined_at=None).order_by("id")) == [text_of_p, own]


def test_of_a_customer_in_two_groups_the_side_of_their_own_group_stays(old):
    first = old("t", Split.VALID, source_user="Q")
    own = old("u", Split.TRAIN, group=make.group("customer:q", split=Split.TRAIN), source_user="Q")
    assert audit.find() == [Case(first.id, own.id, OTHER_SIDE)]


def test_a_prompt_on_the_other_side_than_its_customers_group_goes_even_if_it_is_their_only_one(old):
    """The next prompt of the customer will be on the side of the group."""
    make.group("customer:q", split=Split.VALID)
    only = old("u", Split.TRAIN, source_user="Q")
    assert audit.find() == [Case(only.id, None, OTHER_SIDE)]
    assert f"prompt {only.id} of “{only.pool}” in train: The other prompts of its customer" in audited("--quarantine")
    assert not Prompt.objects.filter(quarantined_at=None).exists()


def test_a_prompt_on_the_wrong_side_goes_also_where_its_twin_gives_way_to_another(old):
    kept = old("Same.", Split.TRAIN, source_user="P")
    old("Same.", Split.VALID, group=make.group("customer:q", split=Split.VALID), source_user="Q")
    old("u", Split.TRAIN, source_user="Q")
    audited("--quarantine")
    assert list(Prompt.objects.filter(quarantined_at=None)) == [kept]


def test_a_labeler_and_a_writer_are_found_too(old):
    writer = make.user()
    found = []
    for fields in ({"source_user": "Ada", "source": Source.LABELER}, {"author": writer, "source": Source.LABELER}):
        stays, goes = old(f"1 {fields}", Split.TRAIN, **fields), old(f"2 {fields}", Split.VALID, **fields)
        found.append(Case(goes.id, stays.id, OTHER_SIDE))
    assert audit.find() == found


def test_edits_belong_to_the_owner_of_their_original(old):
    """Whoever instructions prompts of both sides is found on neither; an edit that left its original's side is."""
    editor = make.user()
    originals = [old(f"Original {split}.", split, source_user=f"c {split}") for split in Split]
    for original in originals:
        old(f"Edit of {original.id}.", "", group=original.group, parent=original, author=editor)
    assert audit.find() == []
    strayed = old("Strayed.", Split.VALID, parent=originals[0], author=editor)
    assert audit.find() == [Case(strayed.id, originals[0].id, OTHER_SIDE)]


@pytest.mark.parametrize("few_shot_first", [True, False])
def test_few_shot_examples_are_found(old, few_shot_first):
    def few_shot():
        return old("Whatever is shown.", Split.TRAIN, shots=SHOTS, kind=Kind.FEW_SHOT)

    def equal():
        return old(EXAMPLE, Split.VALID)

    stays, goes = [make() for make in ((few_shot, equal) if few_shot_first else (equal, few_shot))]
    assert audit.find() == [Case(goes.id, stays.id, EQUAL_EXAMPLE)]


def test_prompts_in_quarantine_are_in_nobodys_way(old):
    old("Same.", Split.TRAIN), old("Same.", Split.VALID)
    audited("--quarantine")
    assert audit.find() == []


def test_the_hundreds_are_read_in_chunks(old, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(audit, "CHUNK", 7)
    group = {split: make.group(split=split) for split in Split}
    for number in range(30):
        old(f"Text {number % 15}.", "", group=group[Split.TRAIN if number < 15 else Split.VALID])
    with django_assert_max_num_queries(24):
        found = audit.find()
    assert len(found) == 15
    assert len({case.prompt_id for case in found} | {case.twin_id for case in found}) == 30


def test_the_migration_gives_old_customers_their_group_on_the_side_of_their_oldest_prompt(old):
    """A customer whose prompts all joined others' groups has none, and would be drawn to either side."""
    fill = import_module("annotate.pools.migrations.0005_fill_example_texts")
    old("t", Split.VALID, source_user="Q")
    old("u", Split.TRAIN, source_user="q")
    shots = old("s", Split.TRAIN, shots=SHOTS, kind=Kind.FEW_SHOT, source_user="")
    fill.make_missing_groups(apps, None)
    fill.fill_example_texts(apps, None)
    assert PromptGroup.objects.get(key="customer:q").split == Split.VALID
    # The prompt's own text is made up here, so that both examples differ from it.
    assert shots.example_texts.count() == 2


def test_the_migration_gives_names_that_look_alike_one_key(old):
    """Before it, invisible characters made other customers, who were on both sides and passed the audit."""
    rename = import_module("annotate.pools.migrations.0008_one_key_for_names_that_look_alike").rename
    keys = {"customer:acme\u200b": Split.VALID, "customer:\ufeffacme": Split.TRAIN, "labeler:w\u00ad17": Split.VALID}
    groups = [make.group(key, split) for key, split in keys.items()]
    kept = old("t", Split.VALID, source_user="Acme\u200b", group=groups[0])
    gone = old("u", Split.TRAIN, source_user="\ufeffAcme", group=groups[1])
    for _again in range(2):
        rename(apps, None)
        stored = list(PromptGroup.objects.order_by("id").values_list("key", flat=True))
        assert stored == ["customer:acme", "customer:\ufeffacme", "labeler:w17"]
    assert [(case.prompt_id, case.twin_id) for case in audit.find()] == [(gone.id, kept.id)]
