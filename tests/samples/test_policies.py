"""Policies, and the pointer that says which one is current."""

import pytest
from django.db import IntegrityError, transaction

from annotate.api.serializers import PolicySerializer
from annotate.samples import policies
from annotate.samples.forms import PolicyForm
from annotate.samples.models import CurrentPolicy, Origin, Policy, Stage
from annotate.samples.queries import current_policy, policies_to_sample
from annotate.samples.spec import DEFAULTS, FIELDS, REQUIRED, Dtype, PolicySpec
from tests import factories as make
from tests.samples.conftest import NOW

VALUES = {
    "name": "sft",
    "revision": "1",
    "stage": Stage.SFT,
    "origin": Origin.LOCAL,
    "location": "/models/sft",
}


def create(**fields):
    return policies.create(spec=PolicySpec(**VALUES | fields), now=NOW)


@pytest.mark.django_db
def test_a_policy_is_created_as_it_was_described():
    policy = create(chat_template="{{ messages }}", dtype=Dtype.FLOAT32)
    policy.refresh_from_db()
    assert (policy.name, policy.revision, policy.location) == ("sft", "1", "/models/sft")
    assert (policy.chat_template, policy.dtype, policy.created_at) == ("{{ messages }}", Dtype.FLOAT32, NOW)


def test_the_table_has_a_column_for_each_declared_field_and_no_other():
    assert {column.name for column in Policy._meta.fields} == {"id", "created_at", *FIELDS}
    for name, about in FIELDS.items():
        column = Policy._meta.get_field(name)
        assert (column.verbose_name, column.max_length) == (about.label, about.max_length)
        assert (column.choices or None) == (about.choices.choices if about.choices else None)
        assert column.get_default() == DEFAULTS.get(name, about.suggested)


def test_form_and_api_have_the_declared_fields():
    assert list(PolicyForm().fields) == list(FIELDS)
    fields = PolicySerializer().fields
    assert [name for name in fields if name in FIELDS] == list(FIELDS)
    assert {name for name, field in fields.items() if field.required} == set(REQUIRED)


def test_a_field_that_is_not_declared_is_an_error():
    with pytest.raises(TypeError, match="temperature"):
        PolicySpec(**VALUES, temperature=1)


@pytest.mark.django_db
def test_a_revision_is_never_taken_twice():
    create()
    with pytest.raises(policies.PolicyExists, match="new revision"):
        create(location="/models/other")
    create(revision="2")
    assert Policy.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("origin", "location"), [(Origin.LOCAL, ""), (Origin.HUB, ""), (Origin.IMPORTED, "/models/sft")]
)
def test_only_a_policy_that_is_sampled_here_has_a_location(origin, location):
    with pytest.raises(policies.LocationMismatch):
        create(origin=origin, location=location)


@pytest.mark.django_db
@pytest.mark.parametrize("loading", [{"adapter": "/lora"}, {"quantisation": "int8"}, {"unsafe_weights": True}])
def test_only_a_checkpoint_says_how_it_is_loaded(loading):
    imported = {"origin": Origin.IMPORTED, "location": ""}
    with pytest.raises(policies.NotACheckpoint):
        create(**imported, **loading)
    with pytest.raises(IntegrityError), transaction.atomic():
        make.policy(origin=Origin.IMPORTED, location="", **loading)
    assert create(**loading)


@pytest.mark.django_db
def test_the_pointer_of_a_stage_moves_and_remembers_who_moved_it():
    manager = make.user("manager")
    old, new, other = make.policy(), make.policy(), make.policy(stage=Stage.PPO)
    assert current_policy(Stage.SFT) is None
    policies.move_current(stage=Stage.SFT, policy=old, by=None, now=NOW)
    policies.move_current(stage=Stage.PPO, policy=other, by=None, now=NOW)
    policies.move_current(stage=Stage.SFT, policy=new, by=manager, now=NOW)
    assert current_policy(Stage.SFT) == new
    assert current_policy(Stage.PPO) == other
    assert CurrentPolicy.objects.get(stage=Stage.SFT).moved_by == manager


@pytest.mark.django_db
def test_the_pointer_refuses_another_stage_and_a_policy_nobody_can_load():
    other = make.policy(stage=Stage.PPO)
    with pytest.raises(policies.WrongStage):
        policies.move_current(stage=Stage.SFT, policy=other, by=None, now=NOW)
    imported = make.policy(origin=Origin.IMPORTED, location="")
    with pytest.raises(policies.NotSampledHere):
        policies.move_current(stage=Stage.SFT, policy=imported, by=None, now=NOW)
    assert not CurrentPolicy.objects.exists()


@pytest.mark.django_db
def test_imported_policies_are_not_offered_for_sampling():
    make.policy(origin=Origin.IMPORTED, location="")
    first, second = make.policy(), make.policy()
    assert list(policies_to_sample()) == [second, first]
