"""The manager's pages. Outsiders and strangers are tried on every address in tests/test_doors.py."""

import re

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.urls import reverse

from annotate.accounts.models import Role, User
from annotate.demonstrations.workflow import DEMONSTRATIONS
from exports.agreement.queries import NO_AGREEMENT
from exports.models import Export, ExportState
from exports.queries import unanswered
from tests import factories as make
from tests.exports import answers


@pytest.fixture
def manager(client, db):
    person = make.user(Role.MANAGER, username="grace")
    client.force_login(person)
    return client


@pytest.fixture
def storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "exports": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }
    return storages["exports"]


def a_manifest(name="sft_train.jsonl"):
    zeros = dict.fromkeys(("sft_labeler", "sft_customer", "rm_labeler", "rm_customer", "ppo_customer"), 0)
    counted = ("sft_examples", "rm_rankings", "rm_pairs", "rm_tied_pairs", "rm_identical_pairs", "ppo_prompts")
    return {
        "code_version": "v1",
        "prompts": {split: zeros | {"sft_labeler": 4321} for split in ("train", "valid")},
        "examples": {split: dict.fromkeys(counted, 0) | {"rm_pairs": 77} for split in ("train", "valid")},
        "left_out": {"held_out_labeler": 12, "waiting_for_review": 0},
        "files": [{"name": name, "rows": 5, "bytes": 2048, "sha256": "ab" * 32}],
        "card": {"name": "README.md", "rows": 0, "bytes": 10, "sha256": "cd" * 32},
    }


def export(day, state=ExportState.DONE, **fields):
    values = {"manifest": a_manifest() if state == ExportState.DONE else None, "folder": "1/a"} | fields
    row = Export.objects.create(state=state, created_at=make.NOW, created_by=make.user(Role.MANAGER), **values)
    row.campaigns.set(day.campaigns)
    return row


ADDRESSES = [
    ("exports", []),
    ("new", []),
    ("export", [1]),
    ("progress", [1]),
    ("download", [1, "x"]),
    ("agreement", []),
]


@pytest.mark.parametrize(("name", "args"), ADDRESSES)
@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
def test_labelers_and_reviewers_are_refused(client, day, name, args, role):
    client.force_login(make.user(role))
    assert client.get(reverse(f"exports:{name}", args=args)).status_code == 403


@pytest.mark.parametrize(("name", "args"), ADDRESSES)
def test_strangers_are_sent_to_the_login(client, db, name, args):
    response = client.get(reverse(f"exports:{name}", args=args))
    assert response.status_code == 302
    assert response.url.startswith(reverse("account_login"))


@pytest.mark.parametrize("number", [404, 10**30])
@pytest.mark.parametrize("name", ["export", "progress"])
def test_an_unknown_export_is_not_found(manager, name, number):
    assert manager.get(reverse(f"exports:{name}", args=[number])).status_code == 404


def test_the_list_says_what_and_how_far(manager, day):
    export(day)
    export(day, ExportState.FAILED, error="No space left on device")
    page = manager.get(reverse("exports:exports")).content.decode()
    names = [campaign.name for campaign in day.campaigns]
    assert re.search(r",\s*".join(names), page)
    assert 'data-state="failed"' in page


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_costs_the_same_for_any_number_of_rows(manager, day, rows, django_assert_num_queries):
    for _ in range(rows):
        export(day)
    # Session, person, count, exports, their campaigns.
    with django_assert_num_queries(5):
        manager.get(reverse("exports:exports"))


def test_an_empty_list_says_what_an_export_is(manager):
    assert 'data-fact="no-export"' in manager.get(reverse("exports:exports")).content.decode()


def test_the_form_says_what_each_campaign_would_bring(manager, day):
    prompt = day.prompt("One.")
    for person in (day.labeler, day.held_out):
        answers.demonstration(day.demonstrations, prompt, person)
    make.campaign(name="only a draft", state="draft", opened_at=None)
    page = manager.get(reverse("exports:new")).content.decode()
    lines = [" ".join(line.split()) for line in page.split("<tr>")]
    (demonstrations,) = [line for line in lines if "demonstrations of today" in line]
    (rankings,) = [line for line in lines if "rankings of today" in line]
    assert 'data-label="Answers that count">1</td>' in demonstrations
    assert 'data-label="Answers that count">0</td>' in rankings
    assert "everyday" in rankings
    assert "only a draft" not in page


@pytest.mark.parametrize("campaigns", [1, 3])
def test_the_form_costs_the_same_for_any_number_of_campaigns(manager, db, campaigns, django_assert_num_queries):
    for _ in range(campaigns):
        make.campaign()
    with django_assert_num_queries(4):
        manager.get(reverse("exports:new"))


def test_asking_for_an_export_makes_a_row_and_shows_it(manager, day):
    response = manager.post(reverse("exports:new"), {"campaigns": [day.demonstrations.id, day.rankings.id]})
    row = Export.objects.get()
    assert response.url == reverse("exports:export", args=[row.id])
    assert set(row.campaigns.all()) == {day.demonstrations, day.rankings}
    assert (row.state, row.created_by.username) == (ExportState.WAITING, "grace")
    page = manager.get(response.url).content.decode()
    assert f'data-state="{ExportState.WAITING}"' in page


@pytest.mark.parametrize("campaigns", [[], ["x"], [10**30]])
def test_a_choice_that_is_none_is_refused(manager, day, campaigns):
    page = manager.post(reverse("exports:new"), {"campaigns": campaigns})
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert not Export.objects.exists()


def test_an_export_can_be_asked_for_again(manager, day):
    row = export(day, ExportState.FAILED, error="No space left on device")
    page = manager.get(reverse("exports:export", args=[row.id])).content.decode()
    assert "No space left on device" in page
    again = f"{reverse('exports:new')}?campaign={day.demonstrations.id}&amp;campaign={day.rankings.id}"
    assert again in page
    form = manager.get(reverse("exports:new"), {"campaign": [day.demonstrations.id, "x"]}).content.decode()
    assert form.count("checked") == 1


def test_a_running_export_asks_for_itself_until_it_is_finished(manager, day):
    row = export(day, ExportState.RUNNING, rows_done=1234, rows_total=5000, leased_until=make.NOW)
    address = reverse("exports:progress", args=[row.id])
    assert f'hx-get="{address}"' in manager.get(reverse("exports:export", args=[row.id])).content.decode()
    part = manager.get(address, headers={"HX-Request": "true"}).content.decode()
    assert '<progress value="1234" max="5000"' in part
    assert "<html" not in part
    Export.objects.update(state=ExportState.DONE, manifest=a_manifest())
    part = manager.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "hx-get" not in part
    assert "sft_train.jsonl" in part


def test_a_finished_export_shows_its_manifest(manager, day):
    row = export(day)
    page = manager.get(reverse("exports:export", args=[row.id])).content.decode()
    for shown in (
        "4321",
        "77",
        "ab" * 32,
        "answers by held-out labelers",
        reverse("exports:download", args=[row.id, "manifest.json"]),
    ):
        assert shown in page
    # Nothing waits for review, so no line says so.
    assert "wait for a reviewer" not in page


def test_a_file_is_streamed_as_it_was_stored(manager, day, storage):
    storage.save("1/a/sft_train.jsonl", ContentFile(b'{"prompt":[]}\n'))
    row = export(day)
    response = manager.get(reverse("exports:download", args=[row.id, "sft_train.jsonl"]))
    assert response.streaming
    assert b"".join(response.streaming_content) == b'{"prompt":[]}\n'
    assert response["Content-Disposition"] == 'attachment; filename="sft_train.jsonl"'
    assert response["Content-Type"] == "application/jsonl"


@pytest.mark.parametrize("name", ["secret.jsonl", "..", "%2e%2e%2fsettings.py", "manifest.json"])
def test_only_files_of_the_manifest_that_are_stored_are_given(manager, day, storage, name):
    storage.save("1/a/secret.jsonl", ContentFile(b"another export's"))
    row = export(day)
    assert manager.get(f"/studio/exports/{row.id}/{name}").status_code in (301, 404)


def test_an_unfinished_export_gives_no_file(manager, day, storage):
    storage.save("1/a/sft_train.jsonl", ContentFile(b"half"))
    row = export(day, ExportState.RUNNING)
    assert manager.get(reverse("exports:download", args=[row.id, "sft_train.jsonl"])).status_code == 404


@pytest.fixture
def ranked(day):
    """25 prompts that two labelers ranked alike but for the last pair."""
    other = make.user(username="lin")
    for number in range(25):
        slate = day.slate(day.prompt(f"Prompt {number}"), "ABCD")
        answers.ranking(slate, day.labeler, [1, 2, 3, 4])
        answers.ranking(slate, other, [1, 2, 4, 3] if number % 2 else [1, 2, 3, 3])
    return day


def test_agreement_is_shown_with_its_interval(manager, ranked):
    page = manager.get(reverse("exports:agreement")).content.decode()
    # 12 prompts with 5 of 6 pairs alike, 13 with 5 of 5: 125 of 137.
    assert "91.2 %" in page
    assert '<rect class="value" x="91.24"' in page
    assert "ada · lin" in page
    assert "150 pairs, 13 of them with a tie; the rates are shares of the 137 pairs without a tie" in " ".join(
        page.split()
    )
    assert 'data-label="Pairs in the rate">137</td>' in page
    assert "72.6 %" in page
    assert "insufficient data" not in page
    assert "style=" not in page


def test_the_tie_rule_can_be_chosen(manager, ranked):
    asked = {"campaign": ranked.rankings.id, "ties": "strict"}
    # Every one of the 25 prompts has 5 of 6.
    page = manager.get(reverse("exports:agreement"), asked).content.decode()
    assert "83.3 %" in page
    assert "the rates are shares of all pairs" in page


@pytest.mark.parametrize("asked", [{"ties": "perhaps"}, {"campaign": "x"}, {"campaign": 10**30}])
def test_a_choice_that_is_none_shows_no_numbers(manager, ranked, asked):
    page = manager.get(reverse("exports:agreement"), asked)
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert "ada · lin" not in page.content.decode()


def test_few_prompts_are_called_insufficient(manager, day):
    slate = day.slate(day.prompt("One."), "ABCD")
    for person in (day.labeler, make.user()):
        answers.ranking(slate, person, [1, 2, 3, 4])
    response = manager.get(reverse("exports:agreement"))
    page, whole = response.content.decode(), response.context["report"].whole
    assert "data-insufficient" in page
    assert (whole.prompts, whole.countable) == (1, 1)
    assert "100.0 %" in page


def test_agreement_without_anything_to_compare_says_what_to_do(manager, db):
    assert 'data-fact="no-agreement"' in manager.get(reverse("exports:agreement")).content.decode()
    make.campaign("rankings", name="New")
    assert "“New” has no rankings yet." in manager.get(reverse("exports:agreement")).content.decode()


def test_prompts_with_ties_alone_are_not_called_sufficient(manager, day):
    for number in range(25):
        slate = day.slate(day.prompt(f"Prompt {number}."), "ABCD")
        for person in (day.labeler, make.user() if number == 0 else User.objects.order_by("-id")[0]):
            answers.ranking(slate, person, [1, 2, 3, 4] if number < 2 else [1, 1, 1, 1])
    page = " ".join(manager.get(reverse("exports:agreement")).content.decode().split())
    assert (
        "Insufficient data: 25 prompts were ranked by two or more labelers. 2 of them have a pair that counts" in page
    )
    assert "25 prompts, 2 with a pair that counts, 25 comparisons" in page
    assert "100.0 % <span" not in page


def test_agreement_is_about_exported_rankings_unless_others_are_chosen(manager, day):
    slate = day.slate(day.prompt("One."), "ABCD")
    for person in (day.held_out, make.user(cohort="held_out")):
        answers.ranking(slate, person, [1, 2, 3, 4])
    address = reverse("exports:agreement")
    assert "but not those that you chose" in manager.get(address).content.decode()
    assert "1 comparisons" in manager.get(address, {"answers": "held-out"}).content.decode()
    assert "1 comparisons" in manager.get(address, {"answers": "all"}).content.decode()
    assert "errorlist" in manager.get(address, {"answers": "some"}).content.decode()


def test_a_campaign_of_another_kind_is_not_said_to_be_missing(manager, day):
    page = manager.get(reverse("exports:agreement"), {"campaign": day.demonstrations.id}).content.decode()
    said = NO_AGREEMENT % {"name": day.demonstrations.name, "workflow": DEMONSTRATIONS.label}
    assert said in page
    assert "available choices" not in page


def test_an_export_of_a_draft_is_refused_as_a_draft(manager, day):
    draft = make.campaign(name="Later", state="draft", opened_at=None)
    page = manager.post(reverse("exports:new"), {"campaigns": [day.rankings.id, draft.id]}).content.decode()
    assert unanswered(draft) in page
    assert "available choices" not in page
    assert not Export.objects.exists()


@pytest.mark.parametrize("campaigns", [1, 3])
def test_agreement_costs_the_same_for_any_number_of_campaigns(manager, ranked, campaigns, django_assert_num_queries):
    for _ in range(campaigns - 1):
        make.campaign("rankings", created_at=make.NOW - make.MINUTE)
    # Session, person, newest campaign, the chosen one, placings, labelers, and the choices, which Django reads twice.
    with django_assert_num_queries(8):
        manager.get(reverse("exports:agreement"))


@pytest.mark.parametrize("digits", [19, 30, 5000])
def test_a_campaign_of_any_number_of_digits_is_refused_in_words(manager, digits):
    page = manager.post(reverse("exports:new"), {"campaigns": ["9" * digits]})
    assert page.status_code == 200
    assert page.context["form"].errors["campaigns"]
    page = manager.get(reverse("exports:agreement"), {"campaign": "9" * digits})
    assert page.status_code == 200
