"""API tokens: shown once, kept as a hash, ended with the password or the role they were made under."""

from importlib import import_module
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.accounts import actions, events, tokens
from annotate.accounts.models import AccountEvent, ApiToken, Cohort, EventKind, Role, User
from tests import factories as make

PASSWORD = "a long enough passphrase"


@pytest.fixture
def mia(db):
    user = make.user(Role.MANAGER, username="mia")
    user.set_password("an earlier passphrase")
    user.save()
    return user


def create(user, **options):
    return tokens.create(user=user, by=None, now=timezone.now(), **options)


def opens(key):
    return Client().get("/api/v1/pools/", headers={"authorization": f"Token {key}"}).status_code == 200


def command(*arguments):
    said = StringIO()
    call_command("create_token", *arguments, stdout=said)
    return said.getvalue().strip()


def test_a_token_opens_the_api_and_its_key_is_stored_nowhere(mia):
    key = create(mia)
    assert opens(key)
    assert not opens(key[:-1])
    assert not opens("")
    row = ApiToken.objects.values().get()
    assert key not in str(row)
    assert len(key) >= 43  # 256 bits
    assert not opens(row["digest"])


def test_a_token_ends_with_a_new_password(client, mia):
    keys = [create(mia), create(mia)]
    client.force_login(mia)
    form = {"oldpassword": "an earlier passphrase", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(reverse("account_change_password"), form).status_code == 302
    assert [opens(key) for key in keys] == [False, False]


def test_a_token_ends_with_a_password_reset(client, mia):
    key = create(mia)
    link = actions.new_link(user=mia, site="http://testserver/", by=make.user(Role.MANAGER), now=timezone.now()).link
    form = client.get(link, follow=True)
    client.post(form.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})
    assert not opens(key)


def test_a_token_ends_with_a_password_set_at_the_command_line(mia, monkeypatch):
    key = create(mia)
    monkeypatch.setattr("getpass.getpass", lambda *_args, **_options: PASSWORD)
    call_command("changepassword", "mia", stdout=StringIO(), stderr=StringIO())
    assert not opens(key)


def test_a_login_that_renews_the_hash_of_the_password_ends_no_token(client, mia, settings):
    """A new version of Django hashes passwords anew at the next login. That is no new password."""
    key = create(mia)
    before = User.objects.get(id=mia.id).password
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    client.post(reverse("account_login"), {"login": "mia", "password": "an earlier passphrase"})
    assert User.objects.get(id=mia.id).password != before
    assert opens(key)


def test_a_token_ends_with_a_changed_role_and_does_not_come_back_with_it(mia):
    other, key = make.user(Role.MANAGER), create(mia)
    for role in (Role.REVIEWER, Role.MANAGER):
        actions.change_role(user=mia, role=role, cohort=Cohort.TRAINING, by=other, now=timezone.now())
    assert not opens(key)


def test_a_token_of_a_deactivated_account_does_not_come_back_with_it(mia):
    other, key = make.user(Role.MANAGER), create(mia)
    actions.deactivate(user=mia, by=other, now=timezone.now())
    actions.reactivate(user=mia, by=other, now=timezone.now())
    assert not opens(key)


def test_the_command_prints_a_key_adds_replaces_and_revokes(mia):
    first, second = command("mia"), command("mia")
    assert opens(first)
    assert opens(second)
    third = command("mia", "--replace")
    assert [opens(key) for key in (first, second, third)] == [False, False, True]
    assert command("mia", "--revoke") == "Deleted 1 tokens of mia."
    assert not opens(third)
    kinds = list(AccountEvent.objects.filter(subject=mia).order_by("id").values_list("kind", flat=True))
    assert kinds == [EventKind.PASSWORD_SET, *[EventKind.TOKEN_CREATED] * 3, EventKind.TOKENS_ENDED]
    # The person is told of a token that somebody else made for them.
    assert "created an API token" in events.sentence(events.waiting(mia)[0])


@pytest.mark.parametrize(
    ("login", "words"), [("lea", "lea is not one"), ("gone", "gone is not one"), ("x", "There is no user")]
)
def test_only_active_managers_get_a_token(mia, login, words):
    make.user(Role.LABELER, username="lea")
    make.user(Role.MANAGER, username="gone", is_active=False)
    with pytest.raises(CommandError, match=words):
        command(login)
    assert not ApiToken.objects.exists()


def test_djangos_admin_shows_no_token(mia):
    client = Client()
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    key = create(mia)
    page = client.get(reverse("admin:index")).content.decode()
    assert "/accounts/user/" in page
    assert "/apitoken/" not in page
    assert "/authtoken/" not in page
    shown = client.get(reverse("admin:accounts_user_change", args=[mia.id])).content.decode()
    assert key not in shown
    assert ApiToken.objects.get().digest not in shown


def test_plain_tokens_of_earlier_versions_go_on_working_and_are_kept_plain_nowhere(mia):
    key = "0123456789abcdef0123456789abcdef01234567"
    kind = ContentType.objects.create(app_label="authtoken", model="tokenproxy")
    LogEntry.objects.create(user=mia, content_type=kind, object_id=str(mia.id), object_repr=key, action_flag=CHANGE)
    migration = import_module("annotate.accounts.migrations.0004_hash_the_plain_tokens")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamptz NOT NULL, user_id bigint)"
        )
        cursor.execute("INSERT INTO authtoken_token VALUES (%s, now(), %s)", [key, mia.id])
        cursor.execute(migration.MOVE)
        cursor.execute("SELECT to_regclass('authtoken_token')")
        assert cursor.fetchone() == (None,)
    assert opens(key)
    assert not LogEntry.objects.filter(object_repr__contains=key).exists()
