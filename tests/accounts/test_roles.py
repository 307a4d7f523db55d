from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from annotate.accounts import actions, queries
from annotate.accounts.models import ApiToken, Cohort, Role, User
from tests import factories as make


@pytest.fixture
def manager(db):
    return make.user(Role.MANAGER)


def change(user, by, *, role=Role.LABELER, cohort=Cohort.TRAINING):
    return actions.change_role(user=user, role=role, cohort=cohort, by=by, now=make.NOW)


def test_a_manager_changes_role_and_cohort(manager):
    person = make.user()
    change(person, manager, role=Role.REVIEWER)
    assert User.objects.get(id=person.id).role == Role.REVIEWER
    change(person, manager, role=Role.LABELER, cohort=Cohort.HELD_OUT)
    changed = User.objects.get(id=person.id)
    assert (changed.role, changed.cohort) == (Role.LABELER, Cohort.HELD_OUT)


def test_only_labelers_are_held_out(manager):
    person = make.user()
    with pytest.raises(actions.OnlyLabelersHeldOut):
        change(person, manager, role=Role.REVIEWER, cohort=Cohort.HELD_OUT)
    with pytest.raises(IntegrityError, match="user_held_out_is_labeler"), transaction.atomic():
        User.objects.filter(id=manager.id).update(cohort=Cohort.HELD_OUT)


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
def test_who_has_worked_held_out_stays_so(manager, role):
    person = make.user(cohort=Cohort.HELD_OUT, last_login=make.NOW)
    with pytest.raises(actions.StaysHeldOut):
        change(person, manager, role=role)
    assert User.objects.get(id=person.id).cohort == Cohort.HELD_OUT


def test_a_mistaken_cohort_is_put_right_before_the_first_login(manager):
    person = make.user(cohort=Cohort.HELD_OUT)
    assert change(person, manager).cohort == Cohort.TRAINING


def test_nobody_demotes_or_deactivates_themselves(manager):
    make.user(Role.MANAGER)
    with pytest.raises(actions.NotOneself):
        change(manager, manager)
    with pytest.raises(actions.NotOneself):
        actions.deactivate(user=manager, by=manager, now=make.NOW)
    kept = User.objects.get(id=manager.id)
    assert (kept.role, kept.is_active) == (Role.MANAGER, True)


def test_the_last_active_manager_stays(manager):
    """Whoever asks: here one whose own role was taken away a moment ago."""
    make.user(Role.MANAGER, is_active=False)
    former = make.user(Role.REVIEWER)
    with pytest.raises(actions.LastManager):
        change(manager, former)
    with pytest.raises(actions.LastManager):
        actions.deactivate(user=manager, by=former, now=make.NOW)


@pytest.mark.django_db(transaction=True)
def test_two_managers_who_remove_each_other_at_once_leave_one():
    first, second = make.user(Role.MANAGER), make.user(Role.MANAGER)
    together = Barrier(2)

    def remove(user, by):
        try:
            together.wait()
            actions.deactivate(user=user, by=by, now=make.NOW)
        except actions.LastManager:
            return "refused"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as managers:
        results = list(managers.map(remove, [first, second], [second, first]))
    assert sorted(results, key=str) == [None, "refused"]
    assert User.objects.filter(role=Role.MANAGER, is_active=True).count() == 1


def test_deactivation_ends_sessions_and_tokens_of_that_person_only(manager):
    leaver, stayer = make.user(Role.MANAGER), make.user(Role.MANAGER)
    browsers = {}
    for person in (leaver, stayer):
        browsers[person] = Client()
        browsers[person].force_login(person)
        make.api_token(person)
    actions.deactivate(user=leaver, by=manager, now=timezone.now())
    assert not browsers[leaver].session.exists(browsers[leaver].session.session_key)
    assert browsers[stayer].session.exists(browsers[stayer].session.session_key)
    assert [token.user for token in ApiToken.objects.all()] == [stayer]


def test_who_comes_back_must_log_in_again(manager):
    person, browser = make.user(), Client()
    browser.force_login(person)
    actions.deactivate(user=person, by=manager, now=timezone.now())
    actions.reactivate(user=person, by=manager, now=make.NOW)
    assert User.objects.get(id=person.id).is_active
    assert browser.get("/").url.startswith("/account/login/")


def test_people_who_may_work_stand_first(manager):
    gone = make.user(username="a", is_active=False)
    labeler = make.user(username="b")
    assert list(queries.people()) == [labeler, manager, gone]
    assert list(queries.labelers()) == [labeler]


def test_a_manager_neither_demotes_nor_deactivates_a_superuser(manager):
    root = make.user(Role.MANAGER, is_superuser=True)
    with pytest.raises(actions.SuperusersOnly):
        change(root, manager)
    with pytest.raises(actions.SuperusersOnly):
        actions.deactivate(user=root, by=manager, now=timezone.now())
    root.refresh_from_db()
    assert (root.role, root.is_active) == (Role.MANAGER, True)
