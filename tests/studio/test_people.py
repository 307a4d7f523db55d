"""A manager lets people in, changes their role, lets them go."""

import pytest
from django.test import Client
from django.urls import reverse

from annotate.accounts import actions
from annotate.accounts.models import Cohort, Qualification, Role, User
from annotate.work import filling
from annotate.work.models import Campaign
from tests import factories as make
from tests.studio.conftest import answered, client_of, told, words


def address(name, user):
    return reverse(f"studio:{name}", args=[user.id])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {"mia", "lea", "leo", "rea", "gone"}),
        ({"role": "labeler"}, {"lea", "leo", "gone"}),
        ({"cohort": "held_out"}, {"leo"}),
        ({"active": "no"}, {"gone"}),
        ({"q": "LE"}, {"lea", "leo"}),
        ({"role": "labeler", "active": "yes", "q": "a"}, {"lea"}),
        ({"role": "emperor"}, {"mia", "lea", "leo", "rea", "gone"}),
    ],
)
def test_people_are_found_by_name_role_cohort_and_account(studio, reviewer, asked, found):
    make.user(username="lea")
    make.user(username="leo", cohort=Cohort.HELD_OUT)
    make.user(username="gone", is_active=False)
    rows = studio.get(reverse("studio:people"), asked).context["rows"]
    # The factories of pools and guidelines have their own managers; here are none.
    assert {somebody.username for somebody, _counts in rows} == found


@pytest.mark.django_db
def test_nobody_found_says_how_to_see_all(studio):
    assert "Show everybody" in words(studio.get(reverse("studio:people"), {"q": "zzz"}))


@pytest.mark.django_db
def test_the_list_counts_work_in_the_same_queries(studio, django_assert_num_queries):
    campaign = make.campaign()
    for _ in range(3):
        make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=make.NOW)
    for people in (1, 2):
        for _ in range(people):
            answered(campaign, make.user())
        # Session, user, count, people, their qualifications, their answers, their skips.
        with django_assert_num_queries(7):
            rows = studio.get(reverse("studio:people"), {"role": "labeler"}).context["rows"]
    assert [counts.accepted for _somebody, counts in rows] == [1, 1, 1]


@pytest.mark.django_db
def test_an_invitation_shows_a_link_that_sets_a_password_once(studio):
    form = {"username": "lea", "full_name": "Lea Lu", "email": "", "role": "labeler", "cohort": "held_out"}
    response = studio.post(reverse("studio:invite"), form)
    lea = User.objects.get(username="lea")
    assert (lea.cohort, lea.name, lea.has_usable_password()) == (Cohort.HELD_OUT, "Lea Lu", False)
    link = response.context["invitation"].link
    assert link in words(response)
    assert "no-store" in response["Cache-Control"]
    stranger = Client()
    page = stranger.get(link, follow=True)
    passwords = {"password1": "correct horse battery", "password2": "correct horse battery"}
    stranger.post(page.redirect_chain[-1][0], passwords)
    assert Client().login(username="lea", password=passwords["password1"])
    again = Client().get(link, follow=True)
    assert "password1" not in words(again)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": "no spaces allowed"}, "username"),
        ({"role": "emperor"}, "role"),
        ({"role": "reviewer", "cohort": "held_out"}, "cohort"),
        ({"email": "nowhere"}, "email"),
    ],
)
@pytest.mark.django_db
def test_an_invitation_that_makes_no_sense_is_refused_at_its_field(studio, changes, field):
    form = {"username": "lea", "email": "", "role": "labeler", "cohort": "training"} | changes
    assert field in studio.post(reverse("studio:invite"), form).context["form"].errors
    assert not User.objects.filter(role=Role.LABELER).exists()


@pytest.mark.django_db
def test_a_taken_user_name_is_refused(studio):
    make.user(username="lea")
    form = {"username": "LEA", "email": "", "role": "labeler", "cohort": "training"}
    response = studio.post(reverse("studio:invite"), form)
    assert str(actions.UsernameTaken.message) in words(response)


@pytest.mark.django_db
def test_role_and_cohort_are_changed(studio):
    lea = make.user(username="lea")
    studio.post(address("person", lea), {"role": "reviewer", "cohort": "training"})
    lea.refresh_from_db()
    assert lea.role == Role.REVIEWER


@pytest.mark.django_db
def test_ones_own_role_is_not_ones_to_change(studio, manager):
    page = words(studio.get(address("person", manager)))
    assert 'id="role"' not in page
    response = studio.post(address("person", manager), {"role": "labeler", "cohort": "training"})
    assert response.context["form"].non_field_errors() == [str(actions.NotOneself.message)]
    manager.refresh_from_db()
    assert manager.role == Role.MANAGER


@pytest.mark.django_db
def test_deactivating_ends_the_sessions_and_keeps_the_row(studio):
    lea = make.user(username="lea")
    her = client_of(lea)
    studio.post(address("person-deactivate", lea))
    lea.refresh_from_db()
    assert not lea.is_active
    assert her.get(reverse("home")).url.startswith(reverse("account_login"))
    assert told(studio.post(address("person-link", lea), follow=True))[-1] == str(actions.Deactivated.message)
    studio.post(address("person-reactivate", lea))
    lea.refresh_from_db()
    assert lea.is_active


@pytest.mark.django_db
def test_nobody_deactivates_themselves(studio, manager):
    response = studio.post(address("person-deactivate", manager), follow=True)
    assert told(response) == [str(actions.NotOneself.message)]
    manager.refresh_from_db()
    assert manager.is_active


@pytest.mark.django_db
def test_a_new_link_is_shown_by_a_post_alone(studio):
    lea = make.user(username="lea")
    assert studio.get(address("person-link", lea)).url == address("person", lea)
    response = studio.post(address("person-link", lea))
    assert response.context["invitation"].link in words(response)


@pytest.mark.django_db
def test_a_person_tells_their_work_by_campaign(studio):
    campaign = make.campaign(name="Write answers")
    make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=make.NOW)
    assignment = answered(campaign, make.user())
    page = studio.get(address("person", assignment.labeler))
    assert [(row.name, counts.accepted) for row, counts in page.context["campaigns"]] == [("Write answers", 1)]
    assert "No work yet" in words(studio.get(address("person", make.user())))


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
@pytest.mark.django_db
def test_nobody_but_managers_touches_an_account(role):
    lea, outsider = make.user(username="lea"), client_of(make.user(role))
    for name in ("person", "person-link", "person-deactivate", "person-reactivate"):
        assert outsider.post(address(name, lea), {"role": "manager", "cohort": "training"}).status_code == 403
    lea.refresh_from_db()
    assert (lea.role, lea.is_active) == (Role.LABELER, True)


def test_what_a_labeler_is_given_is_changed_on_their_page(studio):
    lea, medicine = make.user(username="lea"), Qualification.objects.create(name="Medicine")
    form = {"languages": "EN, pt_br; en", "qualifications": [medicine.id], "daily_cap": 40}
    studio.post(address("person-work", lea), form)
    lea.refresh_from_db()
    assert (lea.languages, list(lea.qualifications.all()), lea.daily_cap) == (["en", "pt-BR"], [medicine], 40)
    for page in (address("person", lea), reverse("studio:people")):
        shown = words(studio.get(page))
        assert "en, pt-BR" in shown
        assert "Medicine" in shown
    studio.post(address("person-work", lea), {"languages": " ", "daily_cap": ""})
    lea.refresh_from_db()
    assert (lea.languages, list(lea.qualifications.all()), lea.daily_cap) == ([], [], None)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"languages": "en, <b>"}, "languages"),
        ({"daily_cap": 0}, "daily_cap"),
        ({"qualifications": [0]}, "qualifications"),
    ],
)
@pytest.mark.django_db
def test_what_makes_no_sense_is_refused_at_its_field(studio, form, field):
    lea = make.user(username="lea", languages=["de"])
    assert set(studio.post(address("person-work", lea), form).context["work_form"].errors) == {field}
    lea.refresh_from_db()
    assert (lea.languages, lea.daily_cap) == (["de"], None)


def test_only_labelers_are_given_work(studio, reviewer):
    assert 'id="given"' not in words(studio.get(address("person", reviewer)))
    assert studio.post(address("person-work", reviewer), {"daily_cap": 3}).status_code == 404


def test_a_qualification_is_created_named_anew_and_deleted(studio):
    here = reverse("studio:qualifications")
    assert "No qualification yet" in words(studio.get(here))
    studio.post(here, {"name": "Medicine", "description": "Passed the test"})
    medicine = Qualification.objects.get()
    make.user().qualifications.add(medicine)
    make.campaign(name="Patients").qualifications.add(medicine)
    assert [(row.name, row.held, row.asked) for row in studio.get(here).context["page"]] == [("Medicine", 1, 1)]
    assert "name" in studio.post(here, {"name": "Medicine"}).context["form"].errors
    studio.post(address("qualification", medicine), {"name": "Surgery", "description": ""})
    page = words(studio.get(address("qualification", medicine)))
    assert "Surgery" in page
    assert "Patients" in page
    assert told(studio.post(address("qualification-delete", medicine), follow=True)) == [
        str(actions.QualificationNeeded.message)
    ]
    Campaign.objects.get().qualifications.clear()
    studio.post(address("qualification-delete", medicine))
    assert not Qualification.objects.exists()


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
@pytest.mark.django_db
def test_nobody_but_managers_gives_work_or_qualifications(role):
    lea, outsider = make.user(username="lea"), client_of(make.user(role))
    medicine = Qualification.objects.create(name="Medicine")
    form = {"name": "Mine", "languages": "en", "daily_cap": 1}
    assert outsider.post(address("person-work", lea), form).status_code == 403
    assert outsider.post(reverse("studio:qualifications"), form).status_code == 403
    for name in ("qualification", "qualification-delete"):
        assert outsider.post(address(name, medicine), form).status_code == 403
    lea.refresh_from_db()
    assert (lea.languages, Qualification.objects.get().name) == ([], "Medicine")
