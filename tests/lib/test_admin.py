"""The emergency door: open to superusers, for looking at everything and mending next to nothing."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from annotate.accounts.models import ApiToken, Role, User
from annotate.lib.admin import Emergency
from annotate.work import filling
from annotate.work.models import Assignment
from tests import factories as make

OURS = [model for model in admin.site._registry if model.__module__.startswith(("annotate.", "exports."))]


@pytest.fixture
def door(db):
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="a password"))
    return client


def address(model, name, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def test_every_table_can_be_looked_at_but_the_pieces_of_files():
    tables = {model for model in apps.get_models() if model.__module__.startswith(("annotate.", "exports."))}
    # An API token opens the platform to scripts: it is nobody's to look at.
    assert {model.__name__ for model in tables - set(OURS)} <= {"ImportChunk", "ExportChunk", "ApiToken"}
    assert ApiToken not in admin.site._registry
    assert all(isinstance(admin.site._registry[model], Emergency) for model in OURS)


def test_no_table_of_a_library_opens_another_door():
    """An address that is added to an account gets links that set its password, and nobody is told."""
    assert set(admin.site._registry) == set(OURS)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_rows_are_listed_and_neither_added_nor_deleted(door, model):
    assert f"/{model._meta.model_name}/" in door.get(address(model, "changelist")).content.decode()
    assert door.get(address(model, "add")).status_code == 403


def test_a_row_is_shown_and_not_changed(door):
    campaign = make.campaign()
    make.prompt(campaign.pool, "A prompt to be found")
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=make.NOW)
    assignment = Assignment.objects.get()
    page = address(Assignment, "change", assignment.id)
    assert "readonly" in door.get(page).content.decode()
    assert door.post(page, {"state": "accepted"}).status_code == 403
    assert door.post(address(Assignment, "delete", assignment.id), {"post": "yes"}).status_code == 403
    assert Assignment.objects.get().state == "open"


def test_a_locked_out_person_is_let_in_again(door):
    lea = make.user(username="lea", is_active=False)
    page = address(User, "change", lea.id)
    assert lea.password not in door.get(page).content.decode()
    form = {"role": "manager", "cohort": "training", "is_active": "on", "email": "", "username": "changed"}
    door.post(page, form)
    lea.refresh_from_db()
    assert (lea.role, lea.is_active, lea.username) == (Role.MANAGER, True, "lea")
    refused = door.post(page, form | {"cohort": "held_out"})
    assert refused.status_code == 200
    lea.refresh_from_db()
    assert lea.cohort == "training"


@pytest.mark.parametrize("role", Role)
@pytest.mark.django_db
def test_no_role_opens_it(role):
    client = Client()
    client.force_login(make.user(role))
    response = client.get(reverse("admin:index"))
    assert response.url.startswith(reverse("admin:login"))
