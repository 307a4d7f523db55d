"""The page on which a manager decides about prompts in quarantine."""

import pytest
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.pools.importers import jobs
from annotate.pools.importers.prompts import take
from annotate.pools.models import ImportJob, ImportKind, Prompt, QuarantineReason
from annotate.studio.views.quarantine import NO_DECISION, RELEASED
from annotate.work.quarantine import NotInQuarantine, WrongSide
from tests import factories as make
from tests.pools.test_quarantine import assert_no_leak
from tests.studio.conftest import client_of, told, words
from tests.work.test_quarantine import away, twins

__all__ = ["twins"]

pytestmark = pytest.mark.django_db


def page_of(prompt):
    return reverse("studio:quarantine", args=[prompt.pool_id])


def decide(client, prompt, decision):
    address = reverse("studio:quarantine-decide", args=[prompt.id])
    return client.post(address, {"decision": decision}, follow=True)


def test_the_page_shows_the_reason_and_both_prompts_and_the_pools_page_leads_there(studio, twins):
    used, copy = twins
    page = words(studio.get(page_of(copy)))
    assert str(QuarantineReason.EQUAL_TEXT.label) in page
    for prompt, name in ((used, "acme"), (copy, "zenith")):
        assert f'href="{reverse("studio:prompt", args=[prompt.id])}"' in page
        assert f"Customer: <bdi>{name}</bdi>" in page
    pool = words(studio.get(reverse("studio:pool", args=[copy.pool_id])))
    assert f'href="{page_of(copy)}"> 1 prompt </a>' in pool
    assert "1 undecided" in pool
    assert "In quarantine" in pool
    assert page_of(used) not in words(studio.get(reverse("studio:pool", args=[used.pool_id])))


def test_an_empty_quarantine_says_when_prompts_come_there(studio, twins):
    assert "No prompt is in quarantine" in words(studio.get(page_of(twins[0])))


def test_a_manager_keeps_a_prompt_and_the_pages_say_who_did(studio, manager, twins):
    copy = twins[1]
    assert told(decide(studio, copy, "keep")) == [f"Prompt {copy.id} stays in quarantine."]
    page = words(studio.get(page_of(copy)))
    assert f"{manager.name} decided on" in page
    assert 'value="keep"' not in page
    prompt = words(studio.get(reverse("studio:prompt", args=[copy.id])))
    assert "This prompt is in quarantine." in prompt
    assert f"kept in quarantine, {manager.name}" in prompt


def test_a_manager_uses_the_copy_instead(studio, twins):
    used, copy = twins
    assert 'value="instead"' in words(studio.get(page_of(copy)))
    decide(studio, copy, "instead")
    assert list(Prompt.objects.filter(quarantined_at=None)) == [copy]
    assert "Same." in words(studio.get(page_of(used)))
    assert_no_leak()


def test_a_release_against_a_prompt_in_use_is_refused_in_words(studio, twins):
    used, copy = twins
    assert f"in use on the other side of the split: {used.id}" in told(decide(studio, copy, "release"))[0]
    assert Prompt.objects.get(id=copy.id).quarantined_at


def test_a_release_is_offered_once_nothing_is_equal(studio, twins):
    used, copy = twins
    used.delete()
    assert "You can release it." in words(studio.get(page_of(copy)))
    assert told(decide(studio, copy, "release")) == [RELEASED % {"id": copy.id}]
    assert not Prompt.objects.get(id=copy.id).quarantined_at
    assert told(decide(studio, copy, "keep")) == [str(NotInQuarantine.message)]


def test_what_belongs_to_the_other_side_is_only_kept(studio, twins):
    used, _copy = twins
    misplaced = make.prompt(make.pool(), source_user="Zenith", source="customer")
    away(misplaced, used, QuarantineReason.OTHER_SIDE)
    page = words(studio.get(page_of(misplaced)))
    assert 'data-fact="not-movable"' in page
    assert 'value="instead"' not in page
    assert told(decide(studio, misplaced, "instead"))[0] == str(WrongSide.message)


def test_a_button_that_is_none_changes_nothing(studio, twins):
    assert told(decide(studio, twins[1], "burn")) == [str(NO_DECISION)]
    reloaded = studio.get(reverse("studio:quarantine-decide", args=[twins[1].id]))
    assert reloaded.url == reverse("studio:prompt", args=[twins[1].id])
    assert Prompt.objects.get(id=twins[1].id).quarantined_at


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
@pytest.mark.parametrize("decision", ["keep", "release", "instead"])
def test_nobody_else_decides(twins, role, decision):
    copy = twins[1]
    client = client_of(make.user(role))
    assert client.get(page_of(copy)).status_code == 403
    assert decide(client, copy, decision).status_code == 403
    assert Prompt.objects.get(id=copy.id).quarantine_decided_at is None


def test_a_long_list_costs_the_same_queries(studio, twins, django_assert_max_num_queries):
    copy = twins[1]
    with django_assert_max_num_queries(12) as few:
        studio.get(page_of(copy))
    for _ in range(3):
        away(make.prompt(copy.pool), twins[0])
    with django_assert_max_num_queries(len(few.captured_queries)):
        assert studio.get(page_of(copy)).context["page"].paginator.count == 4


def test_an_import_tells_how_many_are_in_quarantine(studio, twins):
    line = '{"prompt": "Same.", "source": "customer", "source_user": "zenith"}\n{"prompt": "Unlike."}\n'
    pool = make.pool()
    job = jobs.store(
        pool=pool, kind=ImportKind.PROMPTS, file_name="a.jsonl", data=line.encode(), defaults={}, by=None, now=make.NOW
    )
    jobs.run(job_id=job.id, take=take, clock=lambda: make.NOW)
    job = ImportJob.objects.get()
    assert (job.taken, job.refused, job.quarantined) == (2, 0, 1)
    page = words(studio.get(reverse("studio:import", args=[job.id])))
    assert "1 prompt is in quarantine" in page
    assert reverse("studio:quarantine", args=[pool.id]) in page
