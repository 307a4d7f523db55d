"""The API as a training team's script uses it: a token, JSON in, JSON out, refusals in words."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse

from annotate.accounts.models import Qualification, Role
from annotate.api.serializers import NOT_STORED
from annotate.guidelines.models import Guideline
from annotate.pools.models import Pool, Prompt
from annotate.rankings.api import NOT_RANKED
from annotate.rankings.serializers import POLICY_OR_POINTER
from annotate.samples import policies, probes, runs
from annotate.samples.models import CurrentPolicy, Policy, SampleRun
from annotate.work.models import Campaign
from annotate.work.quarantine import NotInQuarantine, StillEqual
from annotate.workflows.tasks import fill_campaigns
from exports.models import Export
from exports.queries import unanswered
from tests import factories as make
from tests.studio.test_campaigns import with_tasks
from tests.studio.test_stopped import skipped_until_stopped
from tests.work.test_quarantine import twins

__all__ = ["twins"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager():
    return make.user(Role.MANAGER)


@pytest.fixture
def api(client, manager):
    """api(method, path, body): the JSON answer of a manager's call, with the status it is expected to have."""
    token = make.api_token(manager)

    def call(method: str, path: str, body: object = None, *, status: int = 200):
        response = getattr(client, method)(
            f"/api/v1/{path}",
            data=None if body is None else json.dumps(body),
            content_type="application/json",
            headers={"authorization": f"Token {token}"},
        )
        assert response.status_code == status, response.content
        return response.json() if response.get("content-type", "").startswith("application/json") else response

    return call


def detail_of(refusal):
    """The body of a 409 for a refusal with a fixed message."""
    return {"detail": str(refusal.message)}


def test_a_pool_is_made_and_found(api):
    made = api("post", "pools/", {"name": "customers"}, status=201)
    assert api("get", f"pools/{made['id']}/")["name"] == "customers"
    assert [pool["name"] for pool in api("get", "pools/")["results"]] == ["customers"]


def test_a_pool_of_a_taken_name_is_refused_in_words(api):
    make.pool("customers")
    assert "name" in api("post", "pools/", {"name": "customers"}, status=400)
    assert Pool.objects.count() == 1


def test_a_prompt_gets_its_group_and_split(api):
    pool = make.pool()
    body = {
        "pool": pool.id,
        "messages": [{"role": "user", "content": "Name a river."}],
        "source": "customer",
        "source_user": "Acme",
        "category": "open_qa",
        "priority": 7,
    }
    made = api("post", "prompts/", body, status=201)
    row = Prompt.objects.get(id=made["id"])
    assert (made["group"], made["split"]) == (row.group.key, row.group.split)
    assert made["group"] == "customer:acme"
    assert (made["priority"], row.priority) == (7, 7)
    assert "priority" in api("post", "prompts/", body | {"priority": 1001}, status=400)


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ({"context": "By the sea."}, ["context"]),
        ({"lang": "de", "score": 3}, ["lang"]),
        ({"split": "valid"}, ["split"]),
    ],
)
def test_a_prompt_with_text_that_would_be_dropped_is_refused_unless_it_is_ignored(api, extra, names):
    body = {"pool": make.pool().id, "messages": [{"role": "user", "content": "Name a river."}], "source": "labeler"}
    refusal = api("post", "prompts/", body | extra, status=400)
    assert list(refusal) == names
    assert refusal[names[0]] == [str(NOT_STORED)]
    assert not Prompt.objects.exists()
    assert api("post", "prompts/", body | extra | {"ignore": names}, status=201)["reference"] is None


def test_a_field_that_is_to_be_left_out_is_left_out(api):
    body = {"pool": make.pool().id, "messages": [{"role": "user", "content": "Name a river."}], "source": "customer"}
    body |= {"source_user": "Acme", "licence": "MIT"}
    assert list(api("post", "prompts/", body | {"ignore": ["messages"]}, status=400)) == ["messages"]
    made = api("post", "prompts/", body | {"ignore": ["source_user"]}, status=201)
    assert (made["source_user"], made["licence"]) == ("", "MIT")


def test_text_inside_a_message_is_refused_too(api):
    message = {"role": "user", "content": "Name a river.", "name": "Bo"}
    body = {"pool": make.pool().id, "messages": [message], "source": "labeler"}
    assert list(api("post", "prompts/", body, status=400)) == ["messages.name"]
    assert api("post", "prompts/", body | {"ignore": ["messages.name"]}, status=201)


def test_a_prompts_language_has_one_form(api):
    body = {"pool": make.pool().id, "messages": [{"role": "user", "content": "Name a river."}], "source": "labeler"}
    assert api("post", "prompts/", body | {"language": "EN_gb"}, status=201)["language"] == "en-GB"
    assert list(api("post", "prompts/", body | {"language": "English"}, status=409)) == ["detail"]


def test_a_duplicate_prompt_is_refused_with_the_one_it_equals(api):
    pool = make.pool()
    body = {"pool": pool.id, "messages": [{"role": "user", "content": "Name a river."}], "source": "labeler"}
    first = api("post", "prompts/", body, status=201)
    refusal = api("post", "prompts/", body, status=409)
    assert str(first["id"]) in refusal["detail"]
    assert Prompt.objects.count() == 1


def test_a_prompt_that_does_not_end_with_the_user_is_refused(api):
    body = {"pool": make.pool().id, "messages": [{"role": "assistant", "content": "Hi."}], "source": "labeler"}
    assert api("post", "prompts/", body, status=409)["detail"]
    assert not Prompt.objects.exists()


def test_prompts_are_filtered_by_pool_split_and_words(api):
    pool = make.pool()
    wanted = make.prompt(pool, "A poem about rivers")
    make.prompt(pool, "A poem about hills")
    make.prompt(make.pool(), "Another poem about rivers")
    found = api("get", f"prompts/?pool={pool.id}&q=rivers&split=train")["results"]
    assert [prompt["id"] for prompt in found] == [wanted.id]
    assert api("get", "prompts/?split=valid")["results"] == []


def test_completions_come_with_their_provenance(api):
    prompt, policy = make.prompt(make.pool()), make.policy("tiny")
    completion = make.completion(prompt, policy, "Rhine.")
    (found,) = api("get", f"prompts/{prompt.id}/completions/")
    assert (found["id"], found["text"], found["policy"]) == (completion.id, "Rhine.", policy.id)


def test_a_policy_is_registered_and_made_current(api, manager):
    made = api(
        "post",
        "policies/",
        {"name": "sft", "revision": "1", "stage": "sft", "origin": "local", "location": "/m"},
        status=201,
    )
    api("post", f"policies/{made['id']}/make_current/")
    pointer = CurrentPolicy.objects.get(stage="sft")
    assert (pointer.policy_id, pointer.moved_by) == (made["id"], manager)


def test_a_policy_behind_a_server_is_registered_and_probed(api):
    body = {"name": "sft", "revision": "1", "stage": "sft", "origin": "server", "location": "https://models.example"}
    assert list(api("post", "policies/", body, status=409)) == ["detail"]
    body |= {"served_model": "sft-1", "endpoint": "completions", "key_name": "SERVER_KEY_LAB"}
    made = api("post", "policies/", body, status=201)
    assert (made["location"], made["reproducible"]) == ("https://models.example/v1", None)
    assert (made["probe"]["state"], made["probe"]["findings"]) == ("waiting", {})
    refusal = api("post", f"policies/{made['id']}/probe/", status=409)
    assert refusal["detail"] == str(probes.ProbeUnderWay.message)
    probe = probes.claim(worker="w", lease=timedelta(minutes=1), now=make.NOW)
    probes.finish(probe=probe, findings={"seed": True}, now=make.NOW)
    assert api("get", f"policies/{made['id']}/")["reproducible"] is True
    assert api("post", f"policies/{made['id']}/probe/")["probe"]["state"] == "waiting"


def test_a_policy_says_how_its_weights_are_loaded(api):
    body = {"name": "sft", "revision": "1", "stage": "sft", "origin": "local", "location": "/models/sft"}
    examples = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    loading = {"adapter": "/models/lora", "quantisation": "int8", "unsafe_weights": True, "examples": examples}
    made = api("post", "policies/", body | loading, status=201)
    assert {name: made[name] for name in loading} == loading
    refusal = api("post", "policies/", body | {"revision": "2", "examples": examples[:1]}, status=400)
    assert "assistant" in str(refusal["examples"])
    imported = body | {"revision": "3", "origin": "imported", "location": "", "quantisation": "int8"}
    assert api("post", "policies/", imported, status=409)["detail"] == str(policies.NotACheckpoint.message)


def test_a_policy_without_a_folder_is_refused_in_words(api):
    refusal = api("post", "policies/", {"name": "sft", "revision": "1", "stage": "sft", "origin": "local"}, status=409)
    assert refusal["detail"] == str(policies.LocationMismatch.message)
    assert not Policy.objects.exists()


def test_a_run_is_started_watched_and_cancelled(api):
    pool, policy = make.pool(), make.policy()
    make.prompt(pool)
    body = {"pool": pool.id, "policy": policy.id, "k": 4, "seed": 7}
    made = api("post", "runs/", body, status=201)
    assert (made["state"], made["progress"]["waiting"], made["progress"]["completions_wanted"]) == ("running", 1, 4)
    assert api("post", f"runs/{made['id']}/cancel/")["state"] == "cancelled"
    assert api("post", f"runs/{made['id']}/cancel/", status=409) == detail_of(runs.RunEnded)


def test_a_run_draws_a_seed_where_none_is_given(api):
    pool = make.pool()
    make.prompt(pool)
    made = api("post", "runs/", {"pool": pool.id, "policy": make.policy().id, "k": 1}, status=201)
    assert SampleRun.objects.get().seed == made["seed"]


def test_a_run_over_an_empty_pool_is_refused(api):
    body = {"pool": make.pool().id, "policy": make.policy().id, "k": 4, "seed": 7}
    assert api("post", "runs/", body, status=409) == detail_of(runs.NoPrompts)
    assert not SampleRun.objects.exists()


def test_a_campaign_is_made_changed_and_opened(api):
    body = {
        "name": "first",
        "workflow": "demonstrations",
        "pool": make.pool().id,
        "guideline": make.guideline().id,
        "cohorts": ["training"],
    }
    made = api("post", "campaigns/", body, status=201)
    assert (made["state"], made["progress"]["total"]) == ("draft", 0)
    doctor = Qualification.objects.create(name="Medicine")
    settings = {"order": "priority", "skip_limit": 2, "undo_minutes": 0, "qualifications": [doctor.id]}
    changed = api("patch", f"campaigns/{made['id']}/", {"overlap": 3, **settings})
    assert {name: changed[name] for name in settings} == settings
    assert api("post", f"campaigns/{made['id']}/state/", {"to": "open"})["state"] == "open"
    api("patch", f"campaigns/{made['id']}/", {"order": "depth"}, status=409)
    campaign = Campaign.objects.get()
    assert (campaign.overlap, campaign.order) == (3, "priority")


def test_a_changed_overlap_reaches_the_tasks(api):
    campaign = with_tasks(make.campaign(), 2)
    assert api("patch", f"campaigns/{campaign.id}/", {"overlap": 3})["progress"]["open"] == 6


def test_opening_wakes_a_worker_that_makes_the_tasks(api, monkeypatch, django_capture_on_commit_callbacks):
    sent = []
    monkeypatch.setattr("annotate.lib.wake.app.send_task", lambda task, args, **_: sent.append((task, args)))
    campaign = make.campaign(state="draft", opened_at=None)
    with django_capture_on_commit_callbacks(execute=True):
        api("post", f"campaigns/{campaign.id}/state/", {"to": "open"})
    assert sent == [("workflows.fill_campaigns", (campaign.pool_id,))]


def test_stopped_tasks_are_read_with_their_skips(api):
    campaign = with_tasks(make.campaign(skip_limit=1), 2)
    task = skipped_until_stopped(campaign)
    page = api("get", f"campaigns/{campaign.id}/stopped_tasks/")
    (found,) = page["results"]
    assert (page["count"], found["id"], found["prompt"]) == (1, task.id, task.prompt_id)
    assert [(skip["reason"], skip["note"]) for skip in found["skips"]] == [("expertise", "Needs <b>chemistry</b>")]
    assert api("get", f"campaigns/{campaign.id}/")["progress"]["stopped"] == 1


def test_a_campaign_without_a_published_guideline_does_not_open(api):
    guideline = Guideline.objects.create(name="empty", created_at=make.NOW)
    body = {
        "name": "first",
        "workflow": "demonstrations",
        "pool": make.pool().id,
        "guideline": guideline.id,
        "cohorts": ["training"],
    }
    made = api("post", "campaigns/", body, status=201)
    api("post", f"campaigns/{made['id']}/state/", {"to": "open"}, status=409)
    assert Campaign.objects.get().state == "draft"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"workflow": "instructions"}, "target_pool"),
        ({"slate_min": 8, "slate_max": 5}, "slate_max"),
        ({"overlap": 0}, "overlap"),
        ({"order": "by mood"}, "order"),
        ({"skip_limit": 51}, "skip_limit"),
        ({"undo_minutes": -1}, "undo_minutes"),
        ({"qualifications": [0]}, "qualifications"),
        ({"cohorts": ["everybody"]}, "cohorts"),
    ],
)
def test_a_campaign_that_cannot_be_is_refused_by_field(api, fields, wrong):
    body = {"name": "x", "workflow": "rankings", "pool": make.pool().id, "guideline": make.guideline().id}
    assert wrong in api("post", "campaigns/", body | fields, status=400)
    assert not Campaign.objects.exists()


def test_an_export_is_asked_for_and_waits_for_a_worker(api, manager):
    campaign = make.campaign()
    made = api("post", "exports/", {"campaigns": [campaign.id]}, status=201)
    assert (made["state"], made["campaigns"]) == ("waiting", [campaign.id])
    assert Export.objects.get().created_by == manager
    api("get", f"exports/{made['id']}/files/manifest.json/", status=404)


def test_an_export_of_a_draft_is_refused_as_a_draft_and_one_of_nothing_known_as_such(api):
    draft = make.campaign(name="Later", state="draft", opened_at=None)
    said = api("post", "exports/", {"campaigns": [draft.id]}, status=400)
    assert said["campaigns"] == [unanswered(draft)]
    said = api("post", "exports/", {"campaigns": [10**9]}, status=400)
    assert "does not exist" in said["campaigns"][0]
    assert not Export.objects.exists()


def test_an_export_of_nothing_is_refused(api):
    assert "campaigns" in api("post", "exports/", {"campaigns": []}, status=400)


@pytest.mark.parametrize("path", ["pools", "prompts", "policies", "runs", "campaigns", "exports"])
def test_what_does_not_exist_is_not_found(api, path):
    api("get", f"{path}/999999/", status=404)


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ("pool=%C2%B2", "pool"),  # a superscript: a digit to Python, a number to nobody
        (f"pool={'9' * 30}", "pool"),
        (f"pool={'9' * 5000}", "pool"),
        ("split=%00", "split"),
        ("split=both", "split"),
        ("q=%00", "q"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(api, asked, wrong):
    assert list(api("get", f"prompts/?{asked}", status=400)) == [wrong]


@pytest.mark.parametrize("limit", [10**4, 10**30])
def test_a_page_is_never_longer_than_a_thousand(api, limit):
    Pool.objects.bulk_create(Pool(name=f"pool {number}", created_at=make.NOW) for number in range(1001))
    page = api("get", f"pools/?limit={limit}")
    assert (page["count"], len(page["results"])) == (1001, 1000)


def test_a_run_of_more_tokens_than_a_column_holds_is_refused(api):
    body = {"pool": make.pool().id, "policy": make.policy().id, "k": 4, "max_new_tokens": 10**12}
    assert "max_new_tokens" in api("post", "runs/", body, status=400)


@pytest.mark.parametrize(("path", "queries"), [("runs", 4), ("campaigns", 6)])
def test_a_list_costs_the_same_with_one_row_and_with_three(api, path, queries, django_assert_num_queries):
    def add():
        campaign = make.campaign()
        prompt, run = make.prompt(campaign.pool), {"k": 4, "seed": 1, "created_at": make.NOW}
        SampleRun.objects.create(pool=campaign.pool, policy=make.policy(), **run).requests.create(prompt=prompt)

    add()
    with django_assert_num_queries(queries):
        assert len(api("get", f"{path}/")["results"]) == 1
    add()
    add()
    with django_assert_num_queries(queries):
        assert len(api("get", f"{path}/")["results"]) == 3


def test_the_schema_names_every_endpoint_and_has_no_warnings(api, capsys):
    schema = api("get", "schema/?format=json")
    paths = json.loads(schema.content)["paths"] if hasattr(schema, "content") else schema["paths"]
    for name in ("pools", "prompts", "policies", "runs", "campaigns", "exports"):
        assert f"/api/v1/{name}/" in paths
    assert "Warning" not in capsys.readouterr().err


def test_the_schema_names_the_filters(api):
    schema = api("get", "schema/?format=json")
    found = json.loads(schema.content)["paths"]["/api/v1/prompts/"]["get"]["parameters"]
    assert {"pool", "split", "q"} <= {parameter["name"] for parameter in found}


def test_json_nested_beyond_reason_is_refused_in_words(client, manager):
    token = make.api_token(manager)
    response = client.post(
        "/api/v1/pools/",
        data="[" * 100_000,
        content_type="application/json",
        headers={"authorization": f"Token {token}"},
    )
    assert (response.status_code, response.json()) == (400, {"detail": "This JSON is nested too deeply. Flatten it."})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"name": "A", "name": "B"}', "The field name occurs twice. Remove one of the two."),
        (b'{"name": "A", "x": [{"y": 1, "y": 2}]}', "The field y occurs twice. Remove one of the two."),
        (b'{"name": "A"', "This is not valid JSON: "),
        (b'{"name": NaN}', "This is not valid JSON: "),
        (b'{"name": "\xff"}', "This is not valid JSON: "),
    ],
)
def test_a_body_that_says_two_things_or_none_is_refused_in_words(client, manager, body, problem):
    headers = {"authorization": f"Token {make.api_token(manager)}"}
    response = client.post("/api/v1/pools/", data=body, content_type="application/json", headers=headers)
    assert response.status_code == 400
    assert response.json()["detail"].startswith(problem)
    assert not Pool.objects.exists()


def test_the_schema_is_where_the_readme_says():
    assert reverse("api:schema") == "/api/v1/schema/"


def test_a_mix_says_what_slates_are_sampled_from_and_how_they_stand(api):
    campaign = make.campaign("rankings")
    make.prompt(campaign.pool)
    policy = make.policy()
    path = f"campaigns/{campaign.id}/mix/"
    made = api("get", path)
    assert (made["parts"], made["low"], made["supply"]["ready"]) == ([], 20, 0)
    assert list(api("put", path, {"parts": [{"policy": policy.id, "count": 3}]}, status=409)) == ["detail"]
    both = {"policy": policy.id, "pointer": "current", "stage": "sft", "count": 4}
    assert str(POLICY_OR_POINTER) in str(api("put", path, {"parts": [both]}, status=400))
    pointed = {"pointer": "current", "stage": "sft", "count": 2}
    body = {"parts": [{"policy": policy.id, "count": 2}, pointed], "low": 3, "high": 5, "seed": 8, "renew": True}
    assert "has no current policy" in str(api("put", path, body, status=409))
    policies.move_current(stage="sft", policy=policy, by=None, now=make.NOW)
    made = api("put", path, body)
    assert [(part["policy"], part["pointer"], part["count"]) for part in made["parts"]] == [
        (policy.id, "", 2),
        (None, "current", 2),
    ]
    assert (made["low"], made["high"], made["seed"], made["renew"]) == (3, 5, 8, True)
    fill_campaigns()
    assert api("get", path)["supply"] == {"ready": 0, "sampling": 1, "retired": 0, "none": {}}
    assert api("post", f"campaigns/{campaign.id}/go_on/")["seed"] == 8
    other = make.campaign()
    refused = api("get", f"campaigns/{other.id}/mix/", status=404)
    assert refused["detail"] == NOT_RANKED % {"name": other.name}


def test_prompts_in_quarantine_are_filtered_kept_and_released(api, twins):
    used, copy = twins
    (found,) = api("get", "prompts/?quarantined=true")["results"]
    assert (found["id"], found["quarantine_reason"], found["quarantine_twin"]) == (copy.id, "equal_text", used.id)
    assert [row["id"] for row in api("get", "prompts/?quarantined=false")["results"]] == [used.id]
    assert len(api("get", "prompts/")["results"]) == 2
    assert api("post", f"prompts/{copy.id}/keep/")["quarantine_decided_at"]
    refused = api("post", f"prompts/{copy.id}/release/", {}, status=409)
    assert refused == {"detail": str(StillEqual([used]))}
    assert api("post", f"prompts/{copy.id}/release/", {"instead": True})["quarantined_at"] is None
    assert api("get", f"prompts/{used.id}/")["quarantine_twin"] == copy.id
    assert api("post", f"prompts/{copy.id}/keep/", status=409) == detail_of(NotInQuarantine)


def test_a_prompt_added_in_quarantine_says_so(api, twins):
    body = {"messages": [{"role": "user", "content": "Same."}], "source": "customer", "source_user": "zenith"}
    made = api("post", "prompts/", body | {"pool": make.pool().id}, status=201)
    assert (made["quarantine_reason"], made["quarantine_twin"]) == ("equal_text", twins[0].id)


def test_what_a_failed_export_found_is_put_away(api, manager, twins):
    used, _copy = twins
    leak = {"prompt": used.id, "twin": make.prompt(make.pool()).id, "reason": "equal_text"}
    export = Export.objects.create(created_by=manager, created_at=make.NOW, leaks=[leak])
    assert api("post", f"exports/{export.id}/quarantine/")["leaks"] == [leak]
    assert Prompt.objects.get(id=used.id).quarantined_at
