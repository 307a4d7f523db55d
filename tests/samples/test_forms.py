"""What a manager types, and the sentence that comes back when it will not do."""

import json

import pytest

from annotate.lib.refusals import Refusal
from annotate.samples import policies, runs
from annotate.samples.forms import PolicyForm, SampleRunForm
from annotate.samples.models import Origin, Policy, Stage
from annotate.samples.spec import PolicySpec
from tests import factories as make
from tests.samples.conftest import NOW

pytestmark = pytest.mark.django_db

POLICY = {"name": "sft", "revision": "1", "stage": "sft", "origin": "local", "location": "/models/sft"} | {
    "dtype": "auto",
    "quantisation": "none",
}


def typed(**fields):
    pool = make.pool()
    make.prompt(pool)
    values = {"pool": pool.id, "policy": make.policy().id, "k": "4", "temperature": "1", "top_p": "0.9"}
    return SampleRunForm(values | {"max_new_tokens": "64", "stop": "", "seed": ""} | fields)


def test_a_policy_form_gives_what_its_action_takes():
    form = PolicyForm(POLICY)
    assert form.is_valid(), form.errors
    assert policies.create(spec=form.spec(), now=NOW).location == "/models/sft"
    form = PolicyForm(POLICY)
    assert not form.is_valid()
    assert Policy.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"location": ""}, policies.LocationMismatch.message),
        ({"origin": "imported"}, policies.LocationMismatch.message),
        ({"origin": "hub", "location": "no hub/id/like this"}, "owner/name"),
    ],
)
def test_a_location_must_fit_where_the_policy_comes_from(fields, sentence):
    form = PolicyForm(POLICY | fields)
    assert not form.is_valid()
    assert str(sentence) in " ".join(form.errors["location"])


def test_a_policy_of_a_hub_and_one_of_imports():
    assert PolicyForm(POLICY | {"origin": "hub", "location": "owner/name-1.5b"}).is_valid()
    assert PolicyForm(POLICY | {"origin": "hub", "location": "owner/name@0a1b2c"}).is_valid()
    assert PolicyForm(POLICY | {"origin": "imported", "location": ""}).is_valid()


TOKYO = [{"role": "user", "content": "The capital of Japan?"}, {"role": "assistant", "content": "Tokyo."}]


def test_a_policy_form_says_how_its_weights_are_loaded():
    loaded = {"adapter": "/models/lora", "quantisation": "nf4", "unsafe_weights": "on", "examples": json.dumps(TOKYO)}
    form = PolicyForm(POLICY | loaded)
    assert form.is_valid(), form.errors
    policy = policies.create(spec=form.spec(), now=NOW)
    assert (policy.adapter, policy.quantisation, policy.unsafe_weights) == ("/models/lora", "nf4", True)
    assert policy.examples == TOKYO
    plain = policies.create(spec=_spec(POLICY | {"revision": "2"}), now=NOW)
    assert (plain.adapter, plain.quantisation, plain.unsafe_weights, plain.examples) == ("", "none", False, [])


def _spec(values):
    form = PolicyForm(values)
    assert form.is_valid(), form.errors
    return form.spec()


def test_an_adapter_of_a_hub_checkpoint_is_on_the_hub_or_in_a_folder():
    hub = POLICY | {"origin": "hub", "location": "owner/name"}
    for adapter in ("owner/lora@v1", "/models/lora", "./lora", "~/lora"):
        assert PolicyForm(hub | {"adapter": adapter}).is_valid()
    form = PolicyForm(hub | {"adapter": "models/owner/lora"})
    assert not form.is_valid()
    assert "a folder that begins with /" in str(form.errors["adapter"])


@pytest.mark.parametrize(("field", "value"), [("adapter", "/lora"), ("quantisation", "int8"), ("unsafe_weights", "on")])
def test_only_a_checkpoint_is_loaded_in_this_or_that_way(field, value):
    form = PolicyForm(POLICY | {"origin": "imported", "location": "", field: value})
    assert not form.is_valid()
    assert set(form.errors) == {field}
    assert form.errors[field] == [str(policies.NotACheckpoint.message)]


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ("{}", "are a list of messages"),
        ('"User: Hi"', "are a list of messages"),
        ("[1]", "Message 1 must have a role"),
        (json.dumps(TOKYO[:1]), "The last message must be the assistant"),
        (json.dumps([{"role": role, "content": "a"} for role in ("user", "assistant")] * 500), "has 1001 messages"),
        (json.dumps(TOKYO[1:]), "Message 1 must be from the user"),
        (json.dumps([*TOKYO, {"role": "system", "content": "Be brief."}]), "only the first may be"),
        ("[", "Enter a valid JSON"),
    ],
)
def test_examples_that_no_prompt_can_follow_are_refused_in_words(examples, sentence):
    form = PolicyForm(POLICY | {"examples": examples})
    assert not form.is_valid()
    assert sentence in str(form.errors["examples"])


def test_a_run_form_gives_what_its_action_takes():
    form = typed(stop="Human:\r\n\\n\\n\r\n  two spaces\r\n\r\n", seed="12", keep_tokens="on")
    assert form.is_valid(), form.errors
    run = runs.start(**form.cleaned_data, by=None, now=NOW)
    assert (run.k, run.top_p, run.seed, run.keep_tokens) == (4, 0.9, 12, True)
    assert run.stop == ["Human:", "\n\n", "  two spaces"]


def test_a_seed_that_nobody_chose_is_drawn():
    seeds = set()
    for _ in range(3):
        form = typed()
        assert form.is_valid(), form.errors
        seeds.add(form.cleaned_data["seed"])
    assert len(seeds) > 1


def test_a_new_run_starts_from_the_current_sft_policy():
    assert SampleRunForm().initial["policy"] is None
    policy = make.policy()
    policies.move_current(stage=Stage.SFT, policy=policy, by=None, now=NOW)
    assert SampleRunForm().initial["policy"] == policy
    assert f'<option value="{policy.id}" selected>' in str(SampleRunForm()["policy"])


def test_stop_strings_are_shown_as_they_are_typed():
    assert "Human:\n\\n\\n</textarea>" in str(SampleRunForm(initial={"stop": ["Human:", "\n\n"]})["stop"])


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("k", "0", "greater than or equal to 1"),
        ("k", "65", "less than or equal to 64"),
        ("temperature", "-1", "greater than or equal to 0"),
        ("temperature", "nan", "Enter a number"),
        ("temperature", "0", "At temperature 0"),
        ("top_p", "0", "greater than or equal to 0.01"),
        ("top_p", "1.1", "less than or equal to 1"),
        ("max_new_tokens", "0", "greater than or equal to 1"),
        ("seed", "-1", "greater than or equal to 0"),
        ("seed", str(2**63), "less than or equal to"),
        ("stop", "\n".join("abcdefghi"), "at most 8"),
        ("stop", "x" * 101, "at most 100"),
        ("stop", "a\x00b", "Null characters"),
    ],
)
def test_values_that_no_sampler_takes_are_refused_at_their_field(field, value, sentence):
    form = typed(**{field: value})
    assert not form.is_valid()
    assert sentence in str(form.errors[field])


def test_a_policy_that_no_worker_can_load_cannot_be_chosen():
    form = typed(policy=make.policy(origin=Origin.IMPORTED, location="").id)
    assert not form.is_valid()
    assert "policy" in form.errors


SERVER = POLICY | {"origin": "server", "location": "http://gpu1:8000/", "served_model": "sft-1", "endpoint": "chat"}


def test_a_policy_of_a_server_gets_its_address_in_one_form():
    form = PolicyForm(SERVER | {"key_name": "SERVER_KEY_LAB"})
    assert form.is_valid(), form.errors
    policy = policies.create(spec=form.spec(), now=NOW)
    assert (policy.location, policy.key_name) == ("http://gpu1:8000/v1", "SERVER_KEY_LAB")


@pytest.mark.parametrize(
    ("fields", "at", "sentence"),
    [
        ({"location": ""}, "location", policies.LocationMismatch.message),
        ({"location": "gpu1:8000"}, "location", "Enter the whole address"),
        ({"location": "file:///etc/passwd"}, "location", "Enter the whole address"),
        ({"location": "http://me:secret@gpu1/v1"}, "location", "Leave the user and the password out"),
        ({"location": "http://gpu1/v1?key=1"}, "location", "Leave out the ?"),
        ({"location": "http://gpu1/v1/chat/completions"}, "location", "without the name of an endpoint"),
        ({"location": "http://gpu1:port/v1"}, "location", "This is not an address"),
        ({"served_model": ""}, "served_model", "knows the model"),
        ({"endpoint": ""}, "endpoint", "chat, or completions"),
        ({"key_name": "SECRET_KEY"}, "key_name", "SERVER_KEY_LAB"),
        ({"key_name": "SERVER_KEY_LAB_FILE"}, "key_name", "SERVER_KEY_LAB"),
        ({"key_name": "sk-abc123"}, "key_name", "Do not enter the key"),
        ({"chat_template": "{{ messages }}"}, "chat_template", "applies its own template"),
        ({"origin": "local"}, "served_model", policies.NotAServer.message),
        ({"quantisation": "int8"}, "quantisation", policies.NotACheckpoint.message),
    ],
)
def test_what_is_said_about_a_server_must_be_possible(fields, at, sentence):
    form = PolicyForm(SERVER | fields)
    assert not form.is_valid()
    assert str(sentence) in " ".join(form.errors[at])
    values = {name: value for name, value in (SERVER | fields).items() if name != "dtype"}
    with pytest.raises(Refusal):
        policies.create(spec=PolicySpec(**values), now=NOW)
    assert not Policy.objects.exists()


def test_what_is_missing_is_said_once_and_never_in_the_databases_words():
    form = PolicyForm(SERVER | {"location": "gpu1:8000", "endpoint": "", "served_model": ""})
    assert not form.is_valid()
    assert "onstraint" not in str(form.errors)
    assert all(len(words) == 1 for words in form.errors.values())


def test_tokens_of_a_server_cannot_be_kept():
    form = typed(policy=make.server_policy().id, keep_tokens="on")
    assert form.errors["keep_tokens"] == [str(runs.TokensOfServer.message)]
