"""One prompt into a pool: duplicates, groups, the split, and several people at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.conf import settings as configured
from django.db import IntegrityError, connection, transaction

from annotate.pools import actions
from annotate.pools.models import Kind, Pool, Prompt, PromptGroup, QuarantineReason, Source, Split
from annotate.pools.rules import BadPrompt, PromptDraft
from annotate.pools.split_rules import draw_split
from tests import factories as make
from tests.pools.test_rules import SHOTS

NOW = make.NOW


def draft(text="Write a haiku.", **fields):
    return PromptDraft(messages=[{"role": "user", "content": text}], **fields)


def add(pool, text="Write a haiku.", *, parent=None, author=None, **fields):
    return actions.add_prompt(pool=pool, draft=draft(text, **fields), now=NOW, parent=parent, author=author)


def in_group(split):
    """A prompt of a pool of its own, whose group stands on this side."""
    return make.prompt(make.pool(), in_group=make.group(split=split))


@pytest.mark.django_db
def test_a_prompt_is_stored_as_it_was_checked():
    author = make.user()
    prompt = add(
        make.pool(),
        " \r\n  Write a haiku. \r\n",
        author=author,
        kind=Kind.USER_BASED,
        category="generation",
        language="EN",
        licence="CC0",
        external_id="h-1",
    )
    stored = Prompt.objects.get(id=prompt.id)
    assert stored.messages == [{"role": "user", "content": "  Write a haiku. "}]
    assert (stored.kind, stored.category, stored.language) == (Kind.USER_BASED, "generation", "en")
    assert (stored.licence, stored.external_id, stored.author, stored.parent) == ("CC0", "h-1", author, None)
    assert stored.shots is None
    assert stored.created_at == NOW


@pytest.mark.django_db
def test_few_shot_pairs_are_kept_with_the_prompt_they_make():
    pool = make.pool()
    prompt = actions.add_prompt(pool=pool, draft=PromptDraft(shots=SHOTS, kind=Kind.FEW_SHOT), now=NOW)
    stored = Prompt.objects.get(id=prompt.id)
    assert stored.shots == SHOTS
    assert stored.messages[0]["content"].endswith("Input: It is there\nOutput:")


@pytest.mark.django_db
def test_what_is_no_prompt_leaves_no_trace():
    with pytest.raises(BadPrompt):
        add(make.pool(), " ")
    assert not PromptGroup.objects.exists()


@pytest.mark.django_db
def test_a_duplicate_is_refused_with_the_prompt_it_equals():
    pool = make.pool("Poems")
    first = add(pool)
    with pytest.raises(actions.DuplicatePrompt) as refusal:
        add(pool, "\n \nWrite a haiku.\r\n", source=Source.CUSTOMER, source_user="Acme")
    assert refusal.value.prompt == first
    assert f"{first.id} of the pool “Poems”" in str(refusal.value)
    assert Prompt.objects.count() == 1
    assert PromptGroup.objects.count() == 1


@pytest.mark.django_db
def test_one_person_one_group_one_side():
    pool, author, other = make.pool(), make.user(), make.user()
    mine = {add(pool, f"Prompt {n}", author=author).group_id for n in range(5)}
    theirs = add(pool, "Theirs", author=other).group_id
    assert len(mine) == 1
    assert theirs not in mine
    acme = [
        add(make.pool(), f"Prompt {n}", source=Source.CUSTOMER, source_user=name)
        for n, name in enumerate(["Acme", "ACME"])
    ]
    assert acme[0].group_id == acme[1].group_id


@pytest.mark.django_db
@pytest.mark.parametrize("side", Split.values)
def test_an_edit_stands_where_its_original_stands(side):
    original = in_group(side)
    edit = add(make.pool(), "Write a sonnet.", parent=original, author=make.user())
    assert edit.group_id == original.group_id
    assert edit.parent == original
    again = add(make.pool(), "Write a short sonnet.", parent=edit)
    assert again.group.split == side
    assert PromptGroup.objects.count() == 1


@pytest.mark.django_db
def test_an_equal_prompt_lends_its_group_to_a_prompt_of_nobody():
    elsewhere = add(make.pool(), source=Source.CUSTOMER, source_user="Acme")
    here = add(make.pool(), source=Source.CUSTOMER)
    assert here.group_id == elsewhere.group_id
    assert PromptGroup.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("fields", [{"source": Source.CUSTOMER, "source_user": "Zenith"}, {"source_user": "Ada"}])
def test_an_equal_prompt_does_not_move_a_customer_or_a_labeler_into_another_group(fields):
    add(make.pool(), source=Source.CUSTOMER, source_user="Acme")
    equal, other = add(make.pool(), **fields), add(make.pool(), "Another", **fields)
    assert equal.group_id == other.group_id
    assert equal.group.key == f"{fields.get('source', 'labeler')}:{fields['source_user'].lower()}"


@pytest.mark.django_db
def test_an_equal_prompt_does_not_move_a_writer_into_another_group():
    author = make.user()
    add(make.pool(), source=Source.CUSTOMER, source_user="Acme")
    assert add(make.pool(), author=author).group.key == f"author:{author.id}"


@pytest.mark.django_db
def test_lines_that_share_an_instruction_share_a_group_also_where_one_equals_a_customers():
    add(make.pool(), source=Source.CUSTOMER, source_user="Acme")
    equal, other = add(make.pool(), instruction="Write."), add(make.pool(), "Another", instruction="Write.")
    assert equal.group_id == other.group_id


@pytest.mark.django_db
def test_an_edit_that_equals_a_prompt_of_the_other_side_is_added_in_quarantine():
    """It could be used on neither side without a leak: its text is in one, its original in the other."""
    original = in_group(Split.TRAIN)
    text = "Write a sonnet."
    settled = add(make.pool("Sonnets"), text, source=Source.CUSTOMER, source_user=customer_of(Split.VALID))
    edit = add(original.pool, text, parent=original)
    assert (edit.group_id, edit.quarantine_reason) == (original.group_id, QuarantineReason.EQUAL_TEXT)
    assert (edit.quarantine_twin, edit.quarantined_at) == (settled, NOW)


@pytest.mark.django_db
def test_an_edit_that_equals_a_prompt_of_its_own_side_is_taken():
    original = in_group(Split.TRAIN)
    text = "Write a sonnet."
    add(make.pool(), text, source=Source.CUSTOMER, source_user=customer_of(Split.TRAIN))
    assert add(original.pool, text, parent=original).group_id == original.group_id


def customer_of(side):
    """A customer whose group is drawn to this side."""

    def drawn(name):
        return draw_split(f"customer:{name}", configured.SPLIT_KEY, configured.SPLIT_VALID_SHARE)

    return next(name for name in (f"c{n}" for n in range(1000)) if drawn(name) == side)


@pytest.mark.django_db
def test_the_split_is_drawn_once_whatever_the_settings_say_later(settings):
    settings.SPLIT_KEY, settings.SPLIT_VALID_SHARE = "one", 0.000001
    first = add(make.pool(), source=Source.CUSTOMER, source_user="Acme")
    settings.SPLIT_KEY, settings.SPLIT_VALID_SHARE = "two", 0.999999
    second = add(make.pool(), "Another", source=Source.CUSTOMER, source_user="Acme")
    third = add(make.pool(), "A third", source=Source.CUSTOMER, source_user="Zenith")
    assert [first.group.split, second.group.split, third.group.split] == [Split.TRAIN, Split.TRAIN, Split.VALID]


@pytest.mark.django_db
def test_the_database_refuses_to_move_a_group_to_the_other_side():
    group = make.group(split=Split.TRAIN)
    with pytest.raises(IntegrityError, match="split of a prompt group never changes"), transaction.atomic():
        PromptGroup.objects.filter(id=group.id).update(split=Split.VALID)
    PromptGroup.objects.filter(id=group.id).update(split=Split.TRAIN)


@pytest.mark.django_db
def test_the_database_refuses_to_move_a_prompt_to_another_group_or_text():
    prompt = add(make.pool())
    for change in ({"group": make.group()}, {"content_hash": "0" * 64}):
        with pytest.raises(IntegrityError, match="never changes its group"), transaction.atomic():
            Prompt.objects.filter(id=prompt.id).update(**change)
    Prompt.objects.filter(id=prompt.id).update(category="generation")


@pytest.mark.django_db
def test_the_database_refuses_pairs_of_a_plain_prompt():
    with pytest.raises(IntegrityError, match="prompt_shots_only_few_shot"), transaction.atomic():
        make.prompt(make.pool(), shots=SHOTS)


@pytest.mark.django_db
def test_pools_have_names_of_their_own():
    pool = actions.create_pool(name="Poems", description="Short ones", now=NOW)
    assert (pool.name, pool.description, pool.created_at) == ("Poems", "Short ones", NOW)
    with pytest.raises(actions.NameTaken):
        actions.create_pool(name="Poems", now=NOW)
    assert Pool.objects.count() == 1


def at_once(*calls):
    """What each call, in a thread of its own, returned or raised."""
    together = Barrier(len(calls))

    def one(call):
        try:
            together.wait()
            return call()
        except actions.DuplicatePrompt as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(one, calls))


@pytest.mark.django_db(transaction=True)
def test_of_many_who_add_one_prompt_at_once_one_does():
    pool = make.pool()
    results = at_once(*[lambda: add(pool)] * 8)
    made = [each for each in results if isinstance(each, Prompt)]
    assert len(made) == 1
    assert {each.prompt for each in results if each is not made[0]} == {made[0]}
    assert Prompt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_prompt_added_to_many_pools_at_once_by_many_customers_is_in_use_on_one_side(settings):
    settings.SPLIT_VALID_SHARE = 0.5
    pools = [make.pool() for _ in range(8)]
    for round_ in range(3):
        text = f"Write haiku {round_}."
        results = at_once(
            *[
                lambda pool=pool, n=n, text=text: add(pool, text, source=Source.CUSTOMER, source_user=f"c{n}")
                for n, pool in enumerate(pools)
            ]
        )
        assert sorted(prompt.group.key for prompt in results) == [f"customer:c{n}" for n in range(8)]
        assert len({prompt.group.split for prompt in results if not prompt.quarantined_at}) == 1


@pytest.mark.django_db(transaction=True)
def test_a_customer_met_by_many_at_once_gets_one_group():
    pool = make.pool()
    results = at_once(
        *[lambda n=n: add(pool, f"Prompt {n}", source=Source.CUSTOMER, source_user="Acme") for n in range(8)]
    )
    assert Counter(prompt.group.key for prompt in results) == {"customer:acme": 8}
    assert PromptGroup.objects.count() == 1
