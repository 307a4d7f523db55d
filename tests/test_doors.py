"""Every address of the platform, tried by everybody who has no business there. A new view joins by being routed."""

from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.converters import IntConverter
from pytest_django.asserts import assertContains

from annotate.accounts.models import Role, User
from annotate.accounts.permissions import ManagerOnly
from tests import factories as make

# Other people's views: allauth guards its own, the admin lets only superusers in (tried below).
FOREIGN = ("allauth.", "django.contrib.admin.", "django.views.")


PARAMETERS: dict[URLPattern, dict[str, object]] = {}


def routes(
    resolver: URLResolver | None = None, names: tuple[str, ...] = (), above: tuple[URLResolver, ...] = ()
) -> Iterator[tuple[str, URLPattern]]:
    """(name to reverse, pattern) of every view of ours. PARAMETERS gets those of the addresses that it is below of."""
    resolver = resolver or get_resolver()
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from routes(entry, (*names, entry.namespace) if entry.namespace else names, (*above, entry))
        elif not entry.callback.__module__.startswith(FOREIGN) and names[:1] != ("admin",):
            assert entry.name, f"{entry.pattern} has no name"
            PARAMETERS[entry] = {
                key: converter for part in (*above, entry) for key, converter in part.pattern.converters.items()
            }
            yield ":".join((*names, entry.name)), entry


PAGES = [(name, entry) for name, entry in routes() if not hasattr(entry.callback, "cls")]
ENDPOINTS = [(name, entry) for name, entry in routes() if hasattr(entry.callback, "cls")]


def ids(entries):
    return [name for name, _entry in entries]


def arguments(entry: URLPattern) -> dict[str, object]:
    """Plausible values for the parameters of an address; the doors stand before any row is looked up."""
    parameters: dict[str, object] = dict.fromkeys(entry.pattern.regex.groupindex)
    for key, converter in (parameters | PARAMETERS[entry]).items():
        parameters[key] = 1 if isinstance(converter, IntConverter) else "x"
    return parameters


@pytest.mark.parametrize(("name", "entry"), PAGES, ids=ids(PAGES))
def test_every_page_wears_a_door(name, entry):
    assert getattr(entry.callback, "door", None), f"{name} is open to everybody"


@pytest.mark.parametrize(("name", "entry"), PAGES, ids=ids(PAGES))
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.django_db
def test_who_is_not_logged_in_is_sent_to_the_login(client, name, entry, method):
    response = getattr(client, method)(reverse(name, kwargs=arguments(entry)))
    # 405: the address does not know the method at all, which gives nothing away.
    assert response.status_code in (302, 405)
    if response.status_code == 302:
        assert response.url.startswith(reverse("account_login"))


@pytest.mark.parametrize(("name", "entry"), PAGES, ids=ids(PAGES))
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.django_db
def test_people_of_other_roles_are_refused(client, name, entry, role, method):
    if role in entry.callback.door:
        return
    client.force_login(make.user(role))
    assert getattr(client, method)(reverse(name, kwargs=arguments(entry))).status_code in (403, 405)


# Only scripts call these addresses; no person comes to one by reloading a page or by logging in.
SCRIPTED = {"desk:draft", "desk:renew", "desk:ahead", "desk:preview", "desk:compare", "studio:guideline-preview"}


@pytest.mark.parametrize(("name", "entry"), PAGES, ids=ids(PAGES))
@pytest.mark.django_db
def test_no_address_that_a_person_can_reach_refuses_a_get(client, name, entry):
    client.force_login(make.user(next(iter(entry.callback.door))))
    status = client.get(reverse(name, kwargs=arguments(entry))).status_code
    assert (status == 405) == (name in SCRIPTED)


@pytest.mark.parametrize(("name", "entry"), PAGES, ids=ids(PAGES))
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.django_db
def test_nothing_behind_the_login_is_kept_by_a_browser(client, name, entry, method):
    client.force_login(make.user(next(iter(entry.callback.door))))
    response = getattr(client, method)(reverse(name, kwargs=arguments(entry)))
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(("name", "entry"), PAGES, ids=ids(PAGES))
@pytest.mark.django_db
def test_somebody_deactivated_is_a_stranger(client, name, entry):
    gone = make.user(next(iter(entry.callback.door)))
    client.force_login(gone)
    User.objects.filter(id=gone.id).update(is_active=False)
    response = client.get(reverse(name, kwargs=arguments(entry)))
    assert response.status_code in (302, 405)


@pytest.mark.parametrize(("name", "entry"), ENDPOINTS, ids=ids(ENDPOINTS))
def test_every_endpoint_is_for_managers(name, entry):
    assert list(entry.callback.cls.permission_classes) == [ManagerOnly]


@pytest.mark.parametrize(("name", "entry"), ENDPOINTS, ids=ids(ENDPOINTS))
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.django_db
def test_an_endpoint_answers_nobody_without_a_token(client, name, entry, method):
    assert getattr(client, method)(reverse(name, kwargs=arguments(entry))).status_code == 401


@pytest.mark.parametrize(("name", "entry"), ENDPOINTS, ids=ids(ENDPOINTS))
@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.django_db
def test_an_endpoint_answers_no_labeler_or_reviewer(client, name, entry, role, method):
    token = make.api_token(make.user(role))
    response = getattr(client, method)(
        reverse(name, kwargs=arguments(entry)), headers={"authorization": f"Token {token}"}
    )
    assert response.status_code == 403


@pytest.mark.parametrize(("name", "entry"), ENDPOINTS, ids=ids(ENDPOINTS))
@pytest.mark.django_db
def test_no_answer_of_the_api_is_kept(client, name, entry):
    token = make.api_token(make.user(Role.MANAGER))
    response = client.get(reverse(name, kwargs=arguments(entry)), headers={"authorization": f"Token {token}"})
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("role", Role)
@pytest.mark.django_db
def test_the_admin_is_for_superusers_alone(client, role):
    client.force_login(make.user(role))
    response = client.get(reverse("admin:index"))
    assert response.status_code == 302
    assert response.url.startswith(reverse("admin:login"))


@pytest.mark.parametrize(
    ("role", "page"),
    [(Role.LABELER, "desk:home"), (Role.REVIEWER, "studio:review"), (Role.MANAGER, "studio:campaigns")],
)
@pytest.mark.django_db
def test_everybody_starts_where_their_work_is(client, role, page):
    client.force_login(make.user(role))
    assert client.get(reverse("home")).url == reverse(page)


@pytest.mark.django_db
def test_nobody_signs_up(client):
    response = client.post(reverse("account_signup"), {"username": "eve", "email": "eve@example.org"})
    assert not User.objects.filter(username="eve").exists()
    assertContains(response, "Ask a manager of your team for an account.")
