from concurrent.futures import ThreadPoolExecutor
from smtplib import SMTPServerDisconnected
from threading import Barrier

import pytest
from django.db import connection

from annotate.accounts import actions
from annotate.accounts.forms import InviteForm
from annotate.accounts.models import Cohort, Role, User
from annotate.lib import mail
from tests import factories as make

NOW = make.NOW
SITE = "http://testserver/"
PASSWORD = "a long enough passphrase"


def invite(**fields):
    values = {"username": "ada", "email": "", "full_name": "Ada L.", "role": Role.LABELER, "cohort": Cohort.TRAINING}
    return actions.invite(**(values | fields), site=SITE, by=make.user(Role.MANAGER, first_name="Grace"), now=NOW)


def log_in(client, login, password=PASSWORD):
    client.post("/account/login/", {"login": login, "password": password})
    return "_auth_user_id" in client.session


def set_password(client, link):
    form = client.get(link, follow=True)
    return client.post(form.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})


@pytest.mark.django_db
def test_the_invited_set_their_own_password_by_the_link(client):
    invitation = invite()
    assert not invitation.user.has_usable_password()
    assert invitation.link.startswith("http://testserver/account/password/reset/key/")
    assert set_password(client, invitation.link).status_code == 302
    assert log_in(client, "ada")
    assert client.session["_auth_user_id"] == str(invitation.user.pk)


@pytest.mark.django_db
def test_the_link_works_once(client):
    invitation = invite()
    set_password(client, invitation.link)
    again = client.get(invitation.link, follow=True)
    assert again.context["token_fail"]


@pytest.mark.django_db
def test_nobody_logs_in_before_a_password_is_set(client):
    invite()
    assert not log_in(client, "ada", "")
    assert not log_in(client, "ada")


@pytest.mark.django_db
def test_an_address_gets_the_link_and_logs_in_too(client, mailoutbox):
    invitation = invite(email="ada@example.org")
    assert invitation.mailed
    (mail,) = mailoutbox
    assert mail.to == ["ada@example.org"]
    assert invitation.link in mail.body
    assert "Grace" in mail.body
    set_password(client, invitation.link)
    assert log_in(client, "ADA@example.org")


@pytest.mark.django_db
def test_without_a_mail_server_the_link_is_in_no_log(settings, capsys):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    invitation = invite(email="ada@example.org")
    assert not invitation.mailed
    assert invitation.link not in capsys.readouterr().out


@pytest.mark.django_db
def test_without_an_address_nothing_is_mailed(mailoutbox):
    assert not invite().mailed
    assert mailoutbox == []


@pytest.mark.django_db
def test_a_mail_server_that_is_down_leaves_the_link(monkeypatch):
    def down(*_args):
        raise SMTPServerDisconnected("gone")

    monkeypatch.setattr(mail, "send_mail", down)
    invitation = invite(email="ada@example.org")
    assert not invitation.mailed
    assert User.objects.get(username="ada") == invitation.user


@pytest.mark.django_db
def test_the_name_is_kept_as_it_was_given():
    user = User.objects.get(id=invite(full_name="Gabriel García Márquez").user.id)
    assert (user.name, user.role, user.date_joined) == ("Gabriel García Márquez", Role.LABELER, NOW)


@pytest.mark.django_db
@pytest.mark.parametrize("taken", ["ada", "ADA"])
def test_a_user_name_is_given_once(taken):
    invite()
    with pytest.raises(actions.UsernameTaken):
        invite(username=taken)


@pytest.mark.django_db
def test_an_address_is_given_once():
    invite(email="ada@example.org")
    with pytest.raises(actions.EmailTaken):
        invite(username="other", email="Ada@Example.org")


@pytest.mark.django_db(transaction=True)
def test_two_managers_who_invite_the_same_person_at_once_make_one_account():
    together = Barrier(2)

    def manager(_number):
        try:
            together.wait()
            return invite(email="ada@example.org").user
        except (actions.UsernameTaken, actions.EmailTaken):  # whichever is looked for when the other is in
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as managers:
        made = list(managers.map(manager, range(2)))
    assert made.count(None) == 1
    assert User.objects.filter(username="ada").count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.REVIEWER, Role.MANAGER])
def test_only_labelers_are_held_out(role):
    with pytest.raises(actions.OnlyLabelersHeldOut):
        invite(role=role, cohort=Cohort.HELD_OUT)
    assert not User.objects.filter(username="ada").exists()
    form = InviteForm({"username": "ada", "role": role, "cohort": Cohort.HELD_OUT})
    assert not form.is_valid()
    assert list(form.errors) == ["cohort"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "two words"),
        ("username", "x" * 151),
        ("full_name", "x" * 151),
        ("email", "nowhere"),
        ("email", f"ada@{'x.' * 124}org"),
        ("role", "boss"),
        ("cohort", "control"),
    ],
)
def test_the_form_refuses_what_is_no_person(field, value):
    values = {"username": "ada", "email": "", "full_name": "", "role": "labeler", "cohort": "training"}
    assert InviteForm(values).is_valid()
    form = InviteForm(values | {field: value})
    assert not form.is_valid()
    assert field in form.errors


@pytest.mark.django_db
def test_a_second_link_helps_who_forgot_their_password(client):
    user = make.user(username="ada")
    user.set_password("forgotten passphrase")
    user.save()
    link = actions.new_link(user=user, site=SITE, by=make.user(Role.MANAGER), now=NOW).link
    set_password(client, link)
    assert log_in(client, "ada")


@pytest.mark.django_db
def test_a_deactivated_account_gets_no_link():
    with pytest.raises(actions.Deactivated):
        actions.new_link(user=make.user(is_active=False), site=SITE, by=make.user(Role.MANAGER), now=NOW)


@pytest.mark.django_db
def test_only_a_superuser_makes_a_link_into_a_superusers_account():
    root = make.user(Role.MANAGER, is_superuser=True)
    with pytest.raises(actions.SuperusersOnly):
        actions.new_link(user=root, site=SITE, by=make.user(Role.MANAGER), now=NOW)
    assert actions.new_link(user=root, site=SITE, by=make.user(Role.MANAGER, is_superuser=True), now=NOW).link
