"""A text is in use on one side of the split, and a customer has one group."""

import random
from threading import Barrier, Thread

import pytest
from django.conf import settings as configured
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from annotate.pools import actions, audit
from annotate.pools.models import Kind, Prompt, PromptGroup, QuarantineEvent, QuarantineMove, QuarantineReason, Source
from annotate.pools.models import Split as Side
from annotate.pools.quarantine import in_the_way
from annotate.pools.rules import PromptDraft, prepare, shot_examples
from annotate.pools.split_rules import Use, equal_texts, wrong_side
from tests import factories as make
from tests.pools.test_add_prompt import NOW, add, customer_of, draft

EQUAL_TEXT, EQUAL_EXAMPLE, OTHER_SIDE = QuarantineReason
SHOTS = {
    "instruction": "Name the capital.",
    "pairs": [{"query": "Peru", "response": "Lima"}, {"query": "Cuba", "response": "Havana"}],
}
# The example that asks for the first pair; the one that asks for the last is the prompt itself.
EXAMPLE = shot_examples(SHOTS)[0][0]


def of_customer(pool, text, name):
    return add(pool, text, source=Source.CUSTOMER, source_user=name)


def few_shot(pool, **fields):
    return actions.add_prompt(pool=pool, draft=PromptDraft(shots=SHOTS, kind=Kind.FEW_SHOT), now=NOW, **fields)


def assert_no_leak():
    """No owner and no text is on both sides, as far as prompts are in use, and each customer has one group."""
    assert audit.find() == []
    rows = (
        Prompt.objects.filter(source=Source.CUSTOMER).exclude(source_user="").values_list("source_user", "group__key")
    )
    assert {key for _name, key in rows} == {f"customer:{name}" for name, _key in rows}


@pytest.mark.django_db
def test_sixty_customers_whose_texts_meet_stay_in_one_group_each(settings):
    """Each customer q of the second pool brings a text of their own, then one of customer p of the first pool."""
    settings.SPLIT_VALID_SHARE = 0.1
    first, second = make.pool(), make.pool()
    for number in range(60):
        of_customer(first, f"Text {number}.", f"p{number}")
        of_customer(second, f"Another text {number}.", f"q{number}")
        of_customer(second, f"Text {number}.", f"q{number}")
    sides = dict(PromptGroup.objects.values_list("key", "split"))
    apart = [number for number in range(60) if sides[f"customer:p{number}"] != sides[f"customer:q{number}"]]
    assert apart, "the example needs customers on both sides"
    quarantined = Prompt.objects.exclude(quarantined_at=None)
    assert sorted(quarantined.values_list("text", flat=True)) == sorted(f"Text {number}." for number in apart)
    assert set(quarantined.values_list("pool", "quarantine_reason")) == {(second.id, EQUAL_TEXT)}
    assert_no_leak()


@pytest.mark.django_db
def test_the_newer_copy_is_quarantined_with_its_reason_and_a_record():
    kept = of_customer(make.pool(), "Same.", customer_of(Side.TRAIN))
    copy = of_customer(make.pool(), "\nSame.\r\n", customer_of(Side.VALID))
    assert (copy.quarantined_at, copy.quarantine_reason, copy.quarantine_twin) == (NOW, EQUAL_TEXT, kept)
    assert copy.group.split == Side.VALID
    event = QuarantineEvent.objects.get()
    assert (event.prompt, event.move, event.twin_id, event.actor) == (copy, QuarantineMove.QUARANTINE, kept.id, None)
    assert not Prompt.objects.get(id=kept.id).quarantined_at


@pytest.mark.django_db
def test_equal_texts_of_two_customers_on_one_side_are_both_used():
    name = customer_of(Side.TRAIN)
    of_customer(make.pool(), "Same.", name)
    PromptGroup.objects.create(key="customer:zoe", split=Side.TRAIN, created_at=NOW)
    assert not of_customer(make.pool(), "Same.", "Zoe").quarantined_at


@pytest.mark.django_db
def test_a_text_that_is_only_in_quarantine_makes_no_other_copy_give_way():
    of_customer(make.pool(), "Same.", customer_of(Side.TRAIN))
    of_customer(make.pool(), "Same.", customer_of(Side.VALID))
    third = of_customer(make.pool(), "Same.", customer_of(Side.TRAIN))
    assert not third.quarantined_at
    assert_no_leak()


@pytest.mark.django_db
@pytest.mark.parametrize("text", [EXAMPLE, shot_examples(SHOTS)[1][0]])
def test_a_few_shot_prompt_with_an_example_of_the_other_side_is_quarantined(text):
    parent = of_customer(make.pool(), "The original.", customer_of(Side.TRAIN))
    equal = of_customer(make.pool(), text, customer_of(Side.VALID))
    made = few_shot(make.pool(), parent=parent)
    assert (made.quarantine_twin, made.group) == (equal, parent.group)
    assert made.quarantine_reason == (EQUAL_EXAMPLE if text == EXAMPLE else EQUAL_TEXT)
    assert_no_leak()


@pytest.mark.django_db
@pytest.mark.parametrize("into_one_pool", [True, False])
def test_a_prompt_that_equals_an_example_of_the_other_side_is_quarantined(into_one_pool):
    pool = make.pool()
    used = few_shot(pool, parent=of_customer(make.pool(), "The original.", customer_of(Side.TRAIN)))
    late = of_customer(pool if into_one_pool else make.pool(), EXAMPLE, customer_of(Side.VALID))
    assert (late.quarantine_reason, late.quarantine_twin) == (EQUAL_EXAMPLE, used)
    assert_no_leak()


@pytest.mark.django_db
def test_a_prompt_of_nobody_joins_the_group_of_an_equal_example():
    used = few_shot(make.pool(), parent=of_customer(make.pool(), "The original.", customer_of(Side.VALID)))
    nobodys = add(make.pool(), EXAMPLE, source=Source.CUSTOMER)
    assert (nobodys.group, nobodys.quarantined_at) == (used.group, None)


@pytest.mark.django_db
def test_prompts_of_one_batch_are_compared_too():
    """The example belongs to an instruction of one side, and the last line of the file to a customer of the other."""
    shots = prepare(PromptDraft(shots=SHOTS, kind=Kind.FEW_SHOT))
    side = actions.add_prompts(pool=make.pool(), prompts=[shots], now=NOW)[0].prompt.group.split
    other = customer_of(Side.VALID if side == Side.TRAIN else Side.TRAIN)
    line = prepare(draft(EXAMPLE, source=Source.CUSTOMER, source_user=other))
    Prompt.objects.all().delete()
    first, last = (each.prompt for each in actions.add_prompts(pool=make.pool(), prompts=[shots, line], now=NOW))
    last.refresh_from_db()
    assert (last.quarantine_twin, last.quarantine_reason) == (first, EQUAL_EXAMPLE)


@pytest.mark.django_db
def test_an_edit_of_a_prompt_that_is_on_the_wrong_side_is_quarantined_with_it():
    twin = of_customer(make.pool(), "Right.", "Acme")
    original = make.prompt(make.pool(), in_group=make.group(split=Side.VALID), source_user="Acme")
    Prompt.objects.filter(id=original.id).update(quarantined_at=NOW, quarantine_reason=OTHER_SIDE, quarantine_twin=twin)
    edit = add(make.pool(), "Rewritten.", parent=original, author=make.user())
    assert (edit.quarantine_reason, edit.quarantine_twin) == (OTHER_SIDE, twin)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "columns",
    [
        {"quarantined_at": NOW},
        {"quarantine_reason": EQUAL_TEXT},
        {"quarantined_at": NOW, "quarantine_reason": "whim"},
        {"quarantined_at": NOW, "quarantine_reason": EQUAL_TEXT, "quarantine_decided_at": NOW},
        {"quarantine_decided_at": NOW},
    ],
)
def test_the_database_refuses_columns_of_a_quarantine_that_disagree(columns):
    prompt = make.prompt(make.pool())
    with pytest.raises(IntegrityError, match="prompt_quarantine_columns_agree"), transaction.atomic():
        Prompt.objects.filter(id=prompt.id).update(**columns)


@pytest.mark.django_db
def test_the_database_refuses_to_change_a_decision():
    of_customer(make.pool(), "Same.", customer_of(Side.TRAIN))
    copy = of_customer(make.pool(), "Same.", customer_of(Side.VALID))
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        QuarantineEvent.objects.update(move=QuarantineMove.KEEP)
    copy.delete()
    assert not QuarantineEvent.objects.exists()


@pytest.mark.django_db
def test_what_stands_in_the_way_costs_the_same_queries_for_one_and_for_many(django_assert_num_queries):
    of_customer(make.pool(), "Same.", customer_of(Side.TRAIN))
    pool = make.pool()
    copies = [of_customer(pool, "Same.", customer_of(Side.VALID))]
    copies += [of_customer(pool, f"Text {number}.", customer_of(Side.VALID)) for number in range(5)]
    for prompts in (copies[:1], copies):
        with django_assert_num_queries(3):
            found = in_the_way(prompts)
    assert [len(others) for others in found.values()] == [1, 0, 0, 0, 0, 0]


def test_of_one_owner_the_given_side_stays_else_that_of_the_oldest():
    uses = [Use(1, "train"), Use(2, "valid"), Use(3, "train")]
    assert wrong_side(uses, None) == [(Use(2, "valid"), Use(1, "train"))]
    assert wrong_side(uses, "valid") == [(Use(1, "train"), Use(2, "valid")), (Use(3, "train"), Use(2, "valid"))]


def test_what_gave_way_for_one_text_makes_nobody_give_way_for_another():
    texts = {"a": [Use(10, "train"), Use(12, "valid")], "b": [Use(5, "valid"), Use(10, "train")]}
    assert equal_texts(texts) == [(Use(10, "train"), Use(5, "valid"))]


uses = st.builds(Use, st.integers(1, 8), st.sampled_from(["train", "valid"]))


@given(st.dictionaries(st.sampled_from("abcd"), st.sets(uses, max_size=8)))
def test_whatever_the_uses_after_giving_way_every_text_is_on_one_side(texts):
    # A prompt is on one side.
    sides = {}
    texts = {
        text: [use for use in sorted(of) if sides.setdefault(use[0], use[1]) == use[1]] for text, of in texts.items()
    }
    found = equal_texts(texts)
    gone = {use.prompt_id for use, _stays in found}
    for of in texts.values():
        assert len({use.split for use in of if use.prompt_id not in gone}) <= 1
    for use, stays in found:
        assert stays.prompt_id not in gone
        assert stays.prompt_id < use.prompt_id


def somebody_adds(chance, pools, steps, parents):
    """Prompts of few texts, customers and pools, so that they meet; some are few-shot, edits or nobody's."""
    for _ in range(steps):
        pool = chance.choice(pools)
        text = chance.choice([f"Text {number}." for number in range(6)] + [EXAMPLE])
        if chance.random() < 0.2:
            made = PromptDraft(shots=SHOTS, kind=Kind.FEW_SHOT)
        elif chance.random() < 0.2:
            made = draft(text, source=Source.CUSTOMER)
        else:
            made = draft(text, source=Source.CUSTOMER, source_user=f"c{chance.randrange(8)}")
        edited = chance.random() < 0.3 and not made.source_user
        actions.add_prompts(
            pool=pool, prompts=[prepare(made)], now=NOW, parent=chance.choice(parents) if edited else None
        )


@pytest.mark.django_db
@given(seed=st.integers(0, 10**6))
@example_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_in_whatever_order_prompts_come_nothing_is_on_both_sides(seed):
    with transaction.atomic():
        share, configured.SPLIT_VALID_SHARE = configured.SPLIT_VALID_SHARE, 0.5
        try:
            pools = [make.pool() for _ in range(3)]
            parents = [make.prompt(make.pool(), in_group=make.group(split=side)) for side in Side]
            somebody_adds(random.Random(seed), pools, 25, parents)
            assert_no_leak()
        finally:
            configured.SPLIT_VALID_SHARE = share
            transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_two_who_add_prompts_at_once_put_nothing_on_both_sides(settings, seed):
    settings.SPLIT_VALID_SHARE = 0.5
    pools = [make.pool() for _ in range(3)]
    parents = [make.prompt(make.pool(), in_group=make.group(split=side)) for side in Side]
    together, failed = Barrier(2), []

    def add_some(number):
        try:
            together.wait()
            somebody_adds(random.Random(f"{seed} {number}"), pools, 30, parents)
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [Thread(target=add_some, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert Prompt.objects.exclude(quarantined_at=None).exists()
    assert_no_leak()


@pytest.mark.django_db
def test_of_equal_prompts_of_one_batch_the_first_is_taken_into_the_group_of_its_own_customer():
    mine, theirs = customer_of(Side.TRAIN), customer_of(Side.VALID)
    lines = [prepare(draft("Same.", source=Source.CUSTOMER, source_user=name)) for name in (mine, theirs)]
    first, second = actions.add_prompts(pool=make.pool(), prompts=lines, now=NOW)
    assert (first.is_new, second.is_new) == (True, False)
    assert Prompt.objects.get().group == PromptGroup.objects.get()
    of_customer(make.pool(), "Another.", mine)
    of_customer(make.pool(), "A third.", theirs)
    assert_no_leak()
