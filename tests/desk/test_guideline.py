import pytest
from django.urls import reverse

from annotate.guidelines.actions import save_draft
from annotate.guidelines.models import Acknowledgement
from annotate.work.models import Assignment
from tests import factories as make
from tests.desk.conftest import publish


def test_it_is_read_and_acknowledged_and_the_work_begins(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler()
    shown = me.get("guideline", campaign.id)
    version = shown.context["version"]
    assert "Be helpful, truthful and harmless." in shown.content.decode()
    response = me.post("guideline", campaign.id, data={"version": version.id})
    assert Acknowledgement.objects.filter(labeler=me.user, version=version).exists()
    assert response.url == reverse("desk:task", args=[Assignment.objects.get(labeler=me.user).id])


def test_nobody_works_before(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler()
    assert me.post("next", campaign.id).url == reverse("desk:guideline", args=[campaign.id])
    assert not Assignment.objects.filter(labeler=me.user).exists()


def test_a_new_version_shows_what_changed_since_the_one_i_know(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    publish(campaign.guideline, "Be helpful, honest and harmless.")
    page = me.get("guideline", campaign.id).content.decode()
    assert 'id="changes"' in page
    assert "<del>truthful</del><ins>honest</ins>" in page
    assert "What is new" in page


def test_what_was_acknowledged_is_the_text_that_was_read(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler()
    read = me.get("guideline", campaign.id).context["version"]
    newer = publish(campaign.guideline, "Published while they read.")
    response = me.post("guideline", campaign.id, data={"version": read.id})
    assert list(Acknowledgement.objects.values_list("version", "labeler")) == [(read.id, me.user.id)]
    # The newer one is still to be read.
    assert response.url == reverse("desk:guideline", args=[campaign.id])
    assert me.get("guideline", campaign.id).context["version"] == newer


def test_a_version_acknowledged_twice_is_acknowledged_once(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler()
    version = me.get("guideline", campaign.id).context["version"]
    for _ in range(2):
        me.post("guideline", campaign.id, data={"version": version.id})
    assert Acknowledgement.objects.count() == 1


@pytest.mark.parametrize("version", ["", "x", "0", "-1", "9" * 30, "²"])
def test_a_version_that_does_not_exist_is_not_acknowledged(labeler, demonstrations, version):
    campaign = demonstrations()
    assert labeler().post("guideline", campaign.id, data={"version": version}).status_code == 404


def test_neither_a_draft_nor_another_guideline_is_acknowledged_here(labeler, demonstrations):
    campaign, other = demonstrations(), make.guideline()
    draft = save_draft(guideline=campaign.guideline, body="Draft", summary="", by=make.user("manager"), now=make.NOW)
    me = labeler()
    for version in (draft, other.versions.get()):
        assert me.post("guideline", campaign.id, data={"version": version.id}).status_code == 404
    assert "Draft" not in me.get("guideline", campaign.id).content.decode()
    assert not Acknowledgement.objects.exists()
