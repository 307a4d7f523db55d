"""Links by which people set their password: one at a time, withdrawn at any time, recorded, and told to the person."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import HASH_SESSION_KEY
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from annotate.accounts import actions, events, links
from annotate.accounts.models import AccountEvent, Cohort, EventKind, PasswordLink, Role, User
from tests import factories as make
from tests.launch.processes import wait_until
from tests.settings import value_of

SITE = "http://testserver/"
PASSWORD = "a long enough passphrase"
NO_SERVERS = ["django.core.mail.backends.console.EmailBackend", "django.core.mail.backends.dummy.EmailBackend"]


@pytest.fixture
def manager(db):
    return make.user(Role.MANAGER, first_name="Grace")


@pytest.fixture
def ada(db):
    return make.user(username="ada", email="ada@example.org")


def new_link(user, by):
    return actions.new_link(user=user, site=SITE, by=by, now=timezone.now()).link


def works(link):
    return "token_fail" not in Client().get(link, follow=True).context


def use(link):
    client = Client()
    form = client.get(link, follow=True)
    return client.post(form.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})


def client_of(user):
    client = Client()
    client.force_login(User.objects.get(id=user.id))
    return client


def test_a_new_link_ends_the_older_ones(ada, manager, mailoutbox):
    first, second = new_link(ada, manager), new_link(ada, manager)
    assert not works(first)
    assert works(second)
    Client().post(reverse("account_reset_password"), {"email": ada.email})
    assert not works(second)
    assert PasswordLink.objects.filter(user=ada, ended_at=None).count() == 1


def test_the_link_of_an_invitation_ends_with_a_new_one(manager):
    now = timezone.now()
    invited = actions.invite(
        username="lea",
        email="",
        full_name="",
        role=Role.LABELER,
        cohort=Cohort.TRAINING,
        site=SITE,
        by=manager,
        now=now,
    )
    second = new_link(invited.user, manager)
    assert not works(invited.link)
    assert use(second).status_code == 302


def test_a_link_for_one_person_leaves_the_links_of_others(ada, manager):
    other = make.user()
    hers = new_link(ada, manager)
    new_link(other, manager)
    assert works(hers)


def test_a_used_link_is_open_no_more(ada, manager):
    use(new_link(ada, manager))
    assert links.working(User.objects.get(id=ada.id), timezone.now()) is None
    assert not PasswordLink.objects.filter(ended_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_a_link_that_two_browsers_use_concurrently_sets_one_password():
    ada = make.user(username="ada")
    link = new_link(ada, make.user(Role.MANAGER))
    passwords = ["the first passphrase", "the second passphrase"]
    browsers = [Client(), Client()]
    for browser in browsers:
        form = browser.get(link, follow=True).request["PATH_INFO"]
    done = reverse("account_reset_password_from_key_done")

    def use_it(browser, password):
        try:
            # The address, not the context: Django's client records what other threads render, too.
            return browser.post(form, {"password1": password, "password2": password}).url == done
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as both:
        with transaction.atomic():
            User.objects.select_for_update(no_key=True).get(id=ada.id)
            uses = [both.submit(use_it, *use) for use in zip(browsers, passwords, strict=True)]
            # Both have found the link open.
            wait_until(lambda: waiting_for_locks() == 2)
        worked = [use.result() for use in uses]
    ada.refresh_from_db()
    assert sorted(worked) == [False, True]
    assert [ada.check_password(password) for password in passwords] == worked
    assert AccountEvent.objects.filter(subject=ada, kind=EventKind.PASSWORD_SET).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_link_that_is_used_while_it_is_withdrawn_is_not_called_withdrawn():
    ada, manager = make.user(username="ada"), make.user(Role.MANAGER)
    browser, link = Client(), new_link(ada, manager)
    form = browser.get(link, follow=True).request["PATH_INFO"]

    def withdraw():
        try:
            actions.withdraw_link(user=User.objects.get(id=ada.id), by=manager, now=timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            password = "the first passphrase"
            used = browser.post(form, {"password1": password, "password2": password})
            assert used.url == reverse("account_reset_password_from_key_done")
            withdrawal = other.submit(withdraw)
            wait_until(lambda: waiting_for_locks() == 1)
        with pytest.raises(actions.NoLink):
            withdrawal.result()
    assert not AccountEvent.objects.filter(kind=EventKind.LINK_WITHDRAWN).exists()


def waiting_for_locks():
    with connection.cursor() as cursor:
        # Within a transaction PostgreSQL answers from the first look unless told to look again.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0]


def test_a_manager_withdraws_a_link(ada, manager):
    link, studio = new_link(ada, manager), client_of(manager)
    page = reverse("studio:person", args=[ada.id])
    assertContains(studio.get(page), "Grace created a link on")
    response = studio.post(reverse("studio:person-link-withdraw", args=[ada.id]), follow=True)
    assertContains(response, "The link does not work any more.")
    assertNotContains(response, "Withdraw the link")
    assert not works(link)
    response = studio.post(reverse("studio:person-link-withdraw", args=[ada.id]), follow=True)
    assertContains(response, str(actions.NoLink.message))


def test_a_login_ends_the_link_and_the_page_shows_it_no_more(ada, manager):
    link = new_link(ada, manager)
    client_of(ada)
    User.objects.filter(id=ada.id).update(last_login=timezone.now())
    assert not works(link)
    assert links.working(User.objects.get(id=ada.id), timezone.now()) is None


def test_a_link_of_a_deactivated_account_does_not_come_back_with_it(ada, manager):
    link = new_link(ada, manager)
    actions.deactivate(user=ada, by=manager, now=timezone.now())
    actions.reactivate(user=ada, by=manager, now=timezone.now())
    assert not works(link)


def reset_of(email):
    return Client().post(reverse("account_reset_password"), {"email": email})


def test_what_is_made_while_an_account_is_deactivated_does_not_come_back_with_it(ada, manager):
    """What another process creates after the deactivation has ended everything that it saw."""
    make.user(Role.MANAGER)
    actions.deactivate(user=ada, by=manager, now=timezone.now())
    key = make.api_token(ada)
    browser = client_of(ada)
    assert HASH_SESSION_KEY in browser.session
    link = links.make(user=ada, site=SITE, by=manager, now=timezone.now())
    assert not works(link)
    actions.reactivate(user=ada, by=manager, now=timezone.now())
    assert not works(link)
    assert browser.get(reverse("desk:home")).status_code == 302
    actions.change_role(user=ada, role=Role.MANAGER, cohort=Cohort.TRAINING, by=manager, now=timezone.now())
    assert Client().get("/api/v1/pools/", headers={"Authorization": f"Token {key}"}).status_code == 401


def test_a_second_deactivation_or_reactivation_tells_nothing_new(ada, manager):
    stale = User.objects.get(id=ada.id)
    for person in (ada, stale):
        actions.deactivate(user=person, by=manager, now=timezone.now())
    stale = User.objects.get(id=ada.id)
    for person in (ada, stale):
        actions.reactivate(user=person, by=manager, now=timezone.now())
    kinds = list(AccountEvent.objects.filter(subject=ada).order_by("id").values_list("kind", flat=True))
    assert kinds == [EventKind.DEACTIVATED, EventKind.REACTIVATED]


@pytest.mark.django_db(transaction=True)
def test_two_people_who_get_one_address_concurrently_are_told():
    by, people = make.user(Role.MANAGER), [make.user(), make.user()]

    def change(person):
        try:
            actions.change_email(user=person, email="ada@example.org", by=by, now=timezone.now())
        except actions.EmailTaken:
            return "refused"
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            actions.change_email(user=people[0], email="ada@example.org", by=by, now=timezone.now())
            second = other.submit(change, people[1])
            wait_until(lambda: waiting_for_locks() == 1)
        assert second.result() == "refused"
    assert not AccountEvent.objects.filter(subject=people[1]).exists()


@pytest.mark.parametrize("backend", NO_SERVERS)
def test_without_a_mail_server_nothing_is_made_sent_or_promised(ada, settings, capfd, backend):
    settings.EMAIL_BACKEND = backend
    page = Client().get(reverse("account_reset_password"))
    assertContains(page, "Ask a manager")
    assertNotContains(page, '<input type="email"')
    known, unknown = reset_of(ada.email), reset_of("eve@example.org")
    assert (known.status_code, unknown.status_code) == (200, 200)
    for response in (known, unknown):
        assertContains(response, "Ask a manager")
        assertNotContains(response, 'data-fact="mailed"')
    assert {**known.headers} == {**unknown.headers}
    assert not PasswordLink.objects.exists()
    done = Client().get(reverse("account_reset_password_done"))
    assertContains(done, "Ask a manager")
    assertNotContains(done, 'data-fact="mailed"')
    old = Client().get("/account/password/reset/key/1-abc-def/", follow=True)
    assertContains(old, "Ask a manager of your team for a new link.")
    said = capfd.readouterr()
    assert "/password/reset/key/" not in said.out + said.err


def test_without_a_mail_server_no_account_is_looked_up(ada, settings, django_assert_num_queries):
    """The time of the answer cannot tell a known address from an unknown one."""
    settings.EMAIL_BACKEND = NO_SERVERS[1]
    with django_assert_num_queries(0):
        reset_of(ada.email)


def test_a_mail_server_that_is_down_fails_no_page_and_is_in_no_log_with_the_link(ada, settings, caplog):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    for email in (ada.email, "eve@example.org"):
        assert reset_of(email).url == reverse("account_reset_password_done")
    assert "A mail was not sent" in caplog.text
    assert "/password/reset/key/" not in caplog.text
    assert ada.email not in caplog.text


def test_a_mail_server_that_does_not_answer_holds_no_page(ada, settings, caplog):
    assert value_of("EMAIL_TIMEOUT") == 10
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_TIMEOUT = 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        assert reset_of(ada.email).url == reverse("account_reset_password_done")
    assert "A mail was not sent" in caplog.text


@pytest.mark.parametrize(
    ("variables", "backend"),
    [
        ({}, "dummy"),
        ({"EMAIL_HOST": "smtp.example.org"}, "smtp"),
        ({"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend"}, "smtp"),
    ],
)
def test_a_mail_server_is_what_the_operator_names(variables, backend):
    assert value_of("EMAIL_BACKEND", **variables) == f"django.core.mail.backends.{backend}.EmailBackend"


# What people are told about their account, and what is recorded.


def kinds(user):
    return list(AccountEvent.objects.filter(subject=user).order_by("id").values_list("kind", "actor_id"))


def test_a_link_made_for_another_person_is_told_to_them_and_recorded(ada, manager):
    new_link(ada, manager)
    assert kinds(ada) == [(EventKind.LINK_MADE, manager.id)]
    page = client_of(ada).get(reverse("desk:home"))
    assertContains(page, "Grace created a link that sets a new password for your account.")
    # The manager's own pages show nothing of it, and the person's page shows the record.
    assertNotContains(client_of(manager).get(reverse("studio:people")), "Changes to your account")
    history = client_of(manager).get(reverse("studio:person", args=[ada.id]))
    assertContains(history, "Link to set a password made")


def test_a_notice_stays_until_it_is_dismissed(ada, manager):
    new_link(ada, manager)
    client = client_of(ada)
    client.get(reverse("desk:home"))
    shown = client.get(reverse("desk:home")).context["account_notices"]()
    client.post(reverse("dismiss-notices"), {"notice": [shown[0]["id"], "x", "²", "9" * 30, "9" * 5000]})
    assertNotContains(client.get(reverse("desk:home")), "Changes to your account")
    assert not User.objects.get(id=ada.id).has_notices
    new_link(ada, manager)
    assertContains(client.get(reverse("desk:home")), "Changes to your account")


def test_nobody_dismisses_a_notice_of_somebody_else(ada, manager):
    new_link(ada, manager)
    event = AccountEvent.objects.get(subject=ada)
    client_of(make.user()).post(reverse("dismiss-notices"), {"notice": event.id})
    assert [found.id for found in events.waiting(ada)] == [event.id]


def test_a_dismissal_by_script_leaves_the_page(ada, manager):
    new_link(ada, manager)
    event = AccountEvent.objects.get(subject=ada)
    response = client_of(ada).post(reverse("dismiss-notices"), {"notice": event.id}, headers={"HX-Request": "true"})
    assert (response.status_code, response.content) == (200, b"")


def test_a_changed_role_is_told_and_recorded_and_an_unchanged_one_is_not(ada, manager):
    now = timezone.now()
    actions.change_role(user=ada, role=Role.LABELER, cohort=Cohort.TRAINING, by=manager, now=now)
    assert kinds(ada) == []
    actions.change_role(user=ada, role=Role.REVIEWER, cohort=Cohort.TRAINING, by=manager, now=now)
    (event,) = events.waiting(ada)
    assert events.sentence(event) == "Grace changed your role: Labeler → Reviewer."


def test_a_changed_cohort_is_recorded_and_not_told(ada, manager):
    """Labelers see nowhere which cohort they are in."""
    actions.change_role(user=ada, role=Role.LABELER, cohort=Cohort.HELD_OUT, by=manager, now=timezone.now())
    assert kinds(ada) == [(EventKind.COHORT_CHANGED, manager.id)]
    assert not User.objects.get(id=ada.id).has_notices
    assert events.waiting(ada) == []


def test_what_is_told_is_mailed_too(ada, manager, mailoutbox, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        actions.change_role(user=ada, role=Role.REVIEWER, cohort=Cohort.TRAINING, by=manager, now=timezone.now())
    (mail,) = mailoutbox
    assert mail.to == [ada.email]
    assert "Grace changed your role" in mail.body


def test_a_changed_address_is_told_to_the_old_one(ada, manager, mailoutbox, django_capture_on_commit_callbacks):
    link = new_link(ada, manager)
    mailoutbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        actions.change_email(user=ada, email="new@example.org", by=manager, now=timezone.now())
    (mail,) = mailoutbox
    assert mail.to == ["ada@example.org"]
    assert not works(link)
    with pytest.raises(actions.EmailTaken):
        actions.change_email(user=make.user(), email="New@example.org", by=manager, now=timezone.now())


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
def test_only_managers_invite(role, db):
    row = {"username": "lea", "email": "", "full_name": "", "role": Role.LABELER, "cohort": Cohort.TRAINING}
    with pytest.raises(actions.ManagersOnly):
        actions.invite(**row, site=SITE, by=make.user(role), now=timezone.now())


def test_a_superuser_is_reactivated_by_a_superuser_alone(manager):
    root = make.user(Role.MANAGER, is_superuser=True, is_active=False)
    with pytest.raises(actions.SuperusersOnly):
        actions.reactivate(user=root, by=manager, now=timezone.now())
    studio = client_of(manager)
    response = studio.post(reverse("studio:person-reactivate", args=[root.id]), follow=True)
    assertContains(response, "superuser")
    assert not User.objects.get(id=root.id).is_active
    other = make.user(Role.MANAGER, is_superuser=True)
    actions.reactivate(user=root, by=other, now=timezone.now())
    assert User.objects.get(id=root.id).is_active
    assert kinds(root) == [(EventKind.REACTIVATED, other.id)]
    assert [event.kind for event in events.waiting(root)] == [EventKind.REACTIVATED]


def test_a_manager_does_not_withdraw_a_superusers_link(manager):
    root = make.user(Role.MANAGER, is_superuser=True)
    link = new_link(root, root)
    with pytest.raises(actions.SuperusersOnly):
        actions.withdraw_link(user=root, by=manager, now=timezone.now())
    assert works(link)


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
def test_only_managers_act_on_accounts_whichever_way_they_come(ada, role):
    by, now = make.user(role), timezone.now()
    make.user(Role.MANAGER)
    for act in (
        lambda: new_link(ada, by),
        lambda: actions.withdraw_link(user=ada, by=by, now=now),
        lambda: actions.change_role(user=ada, role=Role.REVIEWER, cohort=Cohort.TRAINING, by=by, now=now),
        lambda: actions.deactivate(user=ada, by=by, now=now),
        lambda: actions.reactivate(user=ada, by=by, now=now),
        lambda: actions.change_email(user=ada, email="", by=by, now=now),
    ):
        with pytest.raises(actions.ManagersOnly):
            act()
    assert kinds(ada) == []


def test_the_record_is_append_only(ada, manager):
    new_link(ada, manager)
    event = AccountEvent.objects.get()
    for statement in (
        "UPDATE accounts_accountevent SET actor_id = subject_id",
        "UPDATE accounts_accountevent SET detail = 'other'",
        "DELETE FROM accounts_accountevent",
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    events.dismiss(user=ada, ids=[event.id], now=timezone.now())
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AccountEvent.objects.update(dismissed_at=None)


def test_djangos_admin_records_and_tells_what_it_changes(ada):
    client = Client()
    root = User.objects.create_superuser("root", password="a password")
    client.force_login(root)
    page = reverse("admin:accounts_user_change", args=[ada.id])
    form = {"role": "reviewer", "cohort": "training", "is_active": "on", "email": "new@example.org"}
    client.post(page, form)
    assert kinds(ada) == [(EventKind.ROLE_CHANGED, root.id), (EventKind.EMAIL_CHANGED, root.id)]
    assert len(events.waiting(ada)) == 2
    # Its rules are those of the People page.
    own = reverse("admin:accounts_user_change", args=[root.id])
    response = client.post(own, {"role": "labeler", "cohort": "training", "email": ""}, follow=True)
    assertContains(response, str(actions.NotOneself.message))
    assert User.objects.get(id=root.id).is_active


def test_a_new_password_is_recorded_whoever_sets_it(ada):
    ada.set_password(PASSWORD)
    ada.save()
    assert kinds(ada) == [(EventKind.PASSWORD_SET, None)]
