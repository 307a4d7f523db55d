import re
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client

from annotate.accounts.models import Role
from annotate.demonstrations import actions as demonstrations
from annotate.work import leases
from annotate.work.review import send_back
from tests import factories as make


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def manager(db):
    return make.user(Role.MANAGER, username="mia")


@pytest.fixture
def studio(manager):
    """A client with a manager behind it."""
    return client_of(manager)


@pytest.fixture
def reviewer(db):
    return make.user(Role.REVIEWER, username="rea")


@pytest.fixture
def review(reviewer):
    """A client with a reviewer behind it."""
    return client_of(reviewer)


def answered(campaign, labeler, text="An answer.", *, now=make.NOW):
    """The labeler claims a task of a demonstration campaign and hands this text in."""
    make.acknowledge(labeler, campaign)
    held = leases.claim(campaign_id=campaign.id, labeler=labeler, now=now)
    with transaction.atomic():
        return demonstrations.submit(
            assignment_id=held.id, labeler=labeler, text=text, submit_key=uuid4(), now=now
        ).assignment


def sent_back(assignment, reviewer, comment="Once more, please."):
    with transaction.atomic():
        return send_back(assignment_id=assignment.id, reviewer=reviewer, comment=comment, now=make.NOW)


def words(response):
    """The page's text with its white space made single, for looking up sentences."""
    return " ".join(response.content.decode().split())


def fact(response, name):
    """The text of the element with `data-fact="name"`, None where the page has no such element."""
    found = re.search(rf'data-fact="{name}"[^>]*>(.*?)</(?:dd|td|p)>', words(response))
    return None if found is None else " ".join(re.sub("<[^>]*>", " ", found[1]).split())


def told(response):
    """The messages that the page after a redirect shows."""
    return [str(message) for message in response.context["messages"]]
