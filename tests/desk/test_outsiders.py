"""Every address of the desk, tried by people who have no business there."""

import re

import pytest
from django.db import transaction
from django.urls import URLResolver, reverse

from annotate.accounts.models import Cohort, Role
from annotate.desk.urls import urlpatterns
from annotate.work.models import Assignment, Draft
from annotate.work.review import send_back
from annotate.work.states import State
from tests import factories as make
from tests.desk.conftest import NOW, Labeler

# Method and body with which each address does what it is for.
OWN: dict[str, tuple[str, dict[str, str]]] = {
    "task": ("get", {}),
    "answer": ("get", {}),
    "submit": ("post", {"submit_key": "3f8b8a52-2b0e-4bb6-9a4e-1c2f3d4e5f60", "text": "Stolen"}),
    "draft": ("post", {}),
    "renew": ("post", {}),
    "skip": ("post", {"skip-sent": "1", "skip-reason": "other"}),
    "release": ("post", {"text": "Stolen"}),
    "resume": ("post", {}),
    "compare": ("post", {"text": "Stolen"}),
    "undo": ("post", {}),
}
OF_CAMPAIGN: dict[str, tuple[str, dict[str, str]]] = {
    "next": ("post", {}),
    "ahead": ("post", {}),
    "guideline": ("get", {}),
}
FOR_ALL = ["home", "answers", "preview"]


def patterns(entries):
    """Also those that the workflows add below a task."""
    for entry in entries:
        yield from patterns(entry.url_patterns) if isinstance(entry, URLResolver) else [entry]


def test_every_address_is_tried_below():
    assert {pattern.name for pattern in patterns(urlpatterns)} == {*OWN, *OF_CAMPAIGN, *FOR_ALL}


@pytest.mark.parametrize("name", OWN)
def test_a_labeler_without_a_claim_finds_nothing(labeler, demonstrations, name):
    campaign = demonstrations(prompts=2)
    owner, outsider = labeler(campaign), labeler(campaign)
    held = owner.take(campaign)
    owner.save(held, text="Mine")
    method, data = OWN[name]
    assert getattr(outsider, method)(name, held.id, **({"data": data} if data else {})).status_code == 404
    assert untouched(held, owner)


@pytest.mark.parametrize("name", OWN)
def test_it_looks_the_same_as_a_task_that_does_not_exist(labeler, demonstrations, name):
    campaign = demonstrations(prompts=2)
    owner, outsider = labeler(campaign), labeler(campaign)
    held = owner.take(campaign)
    method, data = OWN[name]
    call = getattr(outsider, method)
    there, nowhere = call(name, held.id, **({"data": data} if data else {})), call(name, 10**9)
    assert there.status_code == nowhere.status_code == 404
    assert without_tokens(there) == without_tokens(nowhere)


@pytest.mark.parametrize("name", OWN)
def test_a_labeler_who_works_in_the_campaign_finds_no_open_task_by_its_number(labeler, demonstrations, name):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    mine = me.take(campaign)
    other = Assignment.objects.exclude(id=mine.id).get()
    method, data = OWN[name]
    assert getattr(me, method)(name, other.id, **({"data": data} if data else {})).status_code == 404
    assert Assignment.objects.get(id=other.id).state == State.OPEN


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.MANAGER])
@pytest.mark.parametrize("name", [*OWN, *OF_CAMPAIGN, *FOR_ALL])
def test_reviewers_and_managers_have_no_desk(labeler, demonstrations, role, name):
    campaign = demonstrations()
    owner = labeler(campaign)
    held = owner.take(campaign)
    owner.save(held, text="Mine")
    staff = Labeler(make.user(role))
    assert getattr(staff.client, method(name))(address(name, held)).status_code == 403
    assert untouched(held, owner)


@pytest.mark.parametrize("name", [*OWN, *OF_CAMPAIGN, *FOR_ALL])
def test_who_is_not_logged_in_is_sent_to_the_login(client, labeler, demonstrations, name):
    campaign = demonstrations()
    owner = labeler(campaign)
    held = owner.take(campaign)
    owner.save(held, text="Mine")
    response = getattr(client, method(name))(address(name, held))
    assert response.status_code == 302
    assert response.url.startswith(reverse("account_login"))
    assert untouched(held, owner)


@pytest.mark.parametrize(
    ("name", "back"), [("task", "/desk/tasks/7/"), ("submit", "/"), ("draft", "/"), ("renew", "/")]
)
def test_after_the_login_one_comes_back_to_a_page(client, db, name, back):
    response = getattr(client, method(name))(reverse(f"desk:{name}", args=[7]))
    assert response.url == f"{reverse('account_login')}?next={back}"


@pytest.mark.parametrize("name", OF_CAMPAIGN)
@pytest.mark.parametrize("fields", [{"cohorts": [Cohort.HELD_OUT]}, {"cohorts": []}])
def test_a_campaign_for_others_is_not_there(labeler, demonstrations, name, fields):
    campaign = demonstrations(**fields)
    me = labeler(campaign)
    assert getattr(me, OF_CAMPAIGN[name][0])(name, campaign.id).status_code == 404
    assert getattr(me, OF_CAMPAIGN[name][0])(name, 10**9).status_code == 404
    assert not Assignment.objects.exclude(state=State.OPEN).exists()


def test_the_guideline_of_a_draft_campaign_is_not_there(labeler, demonstrations):
    campaign = demonstrations(state="draft", opened_at=None)
    assert labeler(campaign).get("guideline", campaign.id).status_code == 404


def test_a_labeler_who_was_given_another_role_has_no_desk_any_more(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.user.role = Role.REVIEWER
    me.user.save()
    assert me.get("task", held.id).status_code == 403


@pytest.mark.parametrize("name", ["draft", "renew", "ahead", "preview", "compare"])
def test_an_address_for_scripts_takes_no_get(labeler, demonstrations, name):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    assert me.client.get(address(name, held)).status_code == 405
    assert Assignment.objects.get(id=held.id).state == State.LEASED


FORMS = ["submit", "skip", "release", "resume", "undo", "next"]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("method", ["get", "head"])
def test_the_address_of_a_form_leads_back_to_its_task_and_changes_nothing(labeler, demonstrations, name, method):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held = me.take(campaign)
    me.save(held, text="Mine")
    response = getattr(me.client, method)(address(name, held))
    assert (response.status_code, response.url) == (302, reverse("desk:task", args=[held.id]))
    assert untouched(held, me)
    assert me.client.put(address(name, held)).status_code == 405


@pytest.mark.parametrize("name", FORMS)
def test_an_outsider_is_not_led_to_a_task_by_the_address_of_its_form(labeler, demonstrations, name):
    campaign = demonstrations(prompts=2, cohorts=[Cohort.TRAINING])
    owner, outsider = labeler(campaign), labeler(campaign, cohort=Cohort.HELD_OUT)
    held = owner.take(campaign)
    there, nowhere = outsider.client.get(address(name, held)), outsider.get(name, 10**9)
    assert there.status_code == nowhere.status_code == 404
    assert without_tokens(there) == without_tokens(nowhere)


@pytest.mark.parametrize("name", FORMS)
def test_who_logs_in_at_the_address_of_a_form_comes_to_its_task(client, labeler, demonstrations, name):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    stranger = client.get(address(name, held))
    assert stranger.url == f"{reverse('account_login')}?next={address(name, held)}"
    client.force_login(me.user)
    back = client.get(stranger.url.partition("?next=")[2], follow=True)
    assert (back.status_code, back.redirect_chain[-1][0]) == (200, reverse("desk:task", args=[held.id]))


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.MANAGER])
@pytest.mark.parametrize("name", FORMS)
def test_reviewers_and_managers_are_not_led_to_a_task(labeler, demonstrations, role, name):
    campaign = demonstrations()
    held = labeler(campaign).take(campaign)
    assert Labeler(make.user(role)).client.get(address(name, held)).status_code == 403


def test_the_address_of_the_next_task_leads_to_the_list_where_none_is_held(labeler, demonstrations):
    campaign = demonstrations()
    response = labeler(campaign).get("next", campaign.id)
    assert (response.status_code, response.url) == (302, reverse("desk:home"))
    assert not Assignment.objects.exclude(state=State.OPEN).exists()


def test_the_address_of_a_form_of_an_answered_task_leads_to_the_answer(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="An answer")
    for name in ("submit", "skip", "undo"):
        response = me.client.get(address(name, held), follow=True)
        assert response.redirect_chain[-1][0] == reverse("desk:answer", args=[held.id])


@pytest.mark.parametrize("name", ["submit", "release", "skip", "next", "ahead", "undo"])
def test_forms_of_other_sites_are_refused(labeler, demonstrations, name):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.client.handler.enforce_csrf_checks = True
    assert me.client.post(address(name, held), OWN.get(name, ("", {}))[1]).status_code == 403
    assert Assignment.objects.get(id=held.id).state == State.LEASED


@pytest.mark.parametrize("name", ["submit", "draft", "renew"])
def test_a_script_of_somebody_elses_page_does_nothing_in_ones_name(labeler, demonstrations, name):
    campaign = demonstrations()
    me, before = labeler(campaign), make.user()
    held = me.take(campaign)
    me.save(held, text="Mine")
    said = {"headers": {"x-person": str(before.id)}}
    assert me.post(name, held.id, data=OWN[name][1], **said).status_code == 403
    assert untouched(held, me)


def without_tokens(response) -> str:
    return re.sub(r"\b\w{64}\b", "", response.content.decode())


def method(name: str) -> str:
    return {**OWN, **OF_CAMPAIGN}.get(name, ("post" if name == "preview" else "get", {}))[0]


def address(name: str, held: Assignment) -> str:
    if name in FOR_ALL:
        return reverse(f"desk:{name}")
    return reverse(f"desk:{name}", args=[held.campaign_id if name in OF_CAMPAIGN else held.id])


def untouched(held: Assignment, owner: Labeler) -> bool:
    now = Assignment.objects.get(id=held.id)
    same = (now.state, now.labeler_id, now.leased_until) == (State.LEASED, owner.user.id, held.leased_until)
    return same and list(Draft.objects.values_list("labeler", "body")) == [(owner.user.id, {"text": ["Mine"]})]


def test_what_a_reviewer_wrote_to_somebody_else_is_not_on_a_late_page(labeler, demonstrations):
    campaign = demonstrations(overlap=2, review_percent=100)
    late, other = labeler(campaign), labeler(campaign)
    slot = late.take(campaign)
    late.post("release", slot.id)
    assert other.take(campaign) == slot
    other.submit(slot, text="Somebody else's answer.")
    with transaction.atomic():
        send_back(
            assignment_id=slot.id, reviewer=make.user("reviewer"), comment="Quagga, for the writer alone.", now=NOW
        )
    # The task has another slot free, so the page is shown, under the number of the slot that the other has now.
    page, refused = late.get("task", slot.id), late.submit(slot, text="")
    assert (page.status_code, refused.status_code) == (200, 422)
    assert b"Quagga" not in page.content + refused.content
    assert b"Quagga" in other.post("resume", slot.id, follow=True).content
