"""A manager sets a campaign up, opens it, watches it, changes it and closes it."""

from datetime import timedelta

import pytest
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.guidelines.models import Guideline
from annotate.instructions.models import Brief
from annotate.work import filling, leases, refusals
from annotate.work.campaigns import change_state
from annotate.work.eligibility import is_eligible
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.review import send_back
from annotate.work.states import CampaignState, State
from annotate.workflows.table import WORKFLOWS
from annotate.workflows.tasks import fill_campaigns
from tests import factories as make
from tests.studio.conftest import answered, client_of, fact, told, words

CHANGES = {
    "name": "New name",
    "overlap": 3,
    "review_percent": 30,
    "lease_minutes": 15,
    "skip_limit": 0,
    "undo_minutes": 0,
}


def draft(**fields):
    return make.campaign(state=CampaignState.DRAFT, opened_at=None, **fields)


def with_tasks(campaign, tasks=1):
    for _ in range(tasks):
        make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=make.NOW)
    return campaign


def to(campaign, state):
    return reverse("studio:campaign-state", args=[campaign.id, state])


@pytest.mark.django_db
def test_the_first_step_names_what_is_missing(studio):
    page = words(studio.get(reverse("studio:campaign-kind")))
    assert reverse("studio:pool-new") in page
    assert reverse("studio:guideline-new") in page
    make.campaign()
    page = words(studio.get(reverse("studio:campaign-kind")))
    assert reverse("studio:pool-new") not in page
    assert all(reverse("studio:campaign-new", args=[kind]) in page for kind in WORKFLOWS)


@pytest.mark.django_db
def test_a_form_becomes_a_draft_of_its_kind(studio, manager):
    pool, guideline, policy = make.pool(), make.guideline(), make.policy()
    form = {
        "name": "Rank",
        "pool": pool.id,
        "guideline": guideline.id,
        "overlap": 2,
        "order": "random",
        "order_seed": 7,
        "skip_limit": 2,
        "undo_minutes": 0,
        "review_percent": 0,
        "lease_minutes": 20,
        "slate_min": 4,
        "slate_max": 6,
        "policies": [policy.id],
        "cohorts": ["training"],
    }
    response = studio.post(reverse("studio:campaign-new", args=["rankings"]), form, follow=True)
    campaign = Campaign.objects.get()
    assert response.redirect_chain[-1][0] == reverse("studio:campaign", args=[campaign.id])
    assert (campaign.workflow, campaign.rankingsettings.slate_max, campaign.state) == (
        "rankings",
        6,
        CampaignState.DRAFT,
    )
    assert (campaign.order, campaign.order_seed, campaign.skip_limit, campaign.undo_minutes) == ("random", 7, 2, 0)
    assert (campaign.created_by, list(campaign.rankingsettings.policies.all())) == (manager, [policy])
    assert (fact(response, "order"), fact(response, "stop")) == ("Random, with seed 7", "after 2 skips")
    assert "final" in fact(response, "undo")


@pytest.mark.django_db
def test_a_form_with_an_error_keeps_what_was_typed(studio):
    response = studio.post(
        reverse("studio:campaign-new", args=["demonstrations"]), {"name": "Half a form", "overlap": 0}
    )
    assert 'value="Half a form"' in words(response)
    assert {"pool", "guideline", "overlap"} <= set(response.context["form"].errors)
    assert not Campaign.objects.exists()


@pytest.mark.django_db
def test_an_unknown_kind_of_work_does_not_exist(studio):
    assert studio.get(reverse("studio:campaign-new", args=["juggling"])).status_code == 404


@pytest.mark.django_db
def test_opening_is_confirmed_and_makes_the_tasks(studio, django_capture_on_commit_callbacks, monkeypatch):
    sent = []
    monkeypatch.setattr("annotate.lib.wake.app.send_task", lambda task, args, **_: sent.append((task, args)))
    campaign = draft()
    assert "version 1" in words(studio.get(to(campaign, "open")))
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT
    with django_capture_on_commit_callbacks(execute=True):
        studio.post(to(campaign, "open"))
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.OPEN
    assert sent == [("workflows.fill_campaigns", (campaign.pool_id,))]


@pytest.mark.django_db
def test_opening_needs_no_broker(studio, django_capture_on_commit_callbacks, monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise ConnectionRefusedError

    monkeypatch.setattr("annotate.lib.wake.app.send_task", unreachable)
    campaign = draft()
    with django_capture_on_commit_callbacks(execute=True):
        response = studio.post(to(campaign, "open"))
    assert response.status_code == 302
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.OPEN


@pytest.mark.django_db
def test_without_a_published_guideline_opening_is_refused_with_the_reason(studio):
    campaign = draft(guideline=Guideline.objects.create(name="empty", created_at=make.NOW))
    assert reverse("studio:guideline", args=[campaign.guideline_id]) in words(studio.get(to(campaign, "open")))
    response = studio.post(to(campaign, "open"), follow=True)
    assert told(response) == [str(refusals.NothingPublished.message)]
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (CampaignState.OPEN, CampaignState.PAUSED, "The campaign is paused."),
        (CampaignState.PAUSED, CampaignState.OPEN, "The campaign is open again."),
    ],
)
@pytest.mark.django_db
def test_pausing_and_reopening(studio, before, after, said):
    campaign = make.campaign(state=before)
    assert studio.get(to(campaign, after)).context["to"] == after
    assert said in told(studio.post(to(campaign, after), follow=True))[0]
    campaign.refresh_from_db()
    assert campaign.state == after


@pytest.mark.django_db
def test_closing_says_what_is_cancelled_and_cancels_it(studio):
    campaign = with_tasks(make.campaign(), 3)
    assert fact(studio.get(to(campaign, "closed")), "cancelled") == "3 open answers"
    studio.post(to(campaign, "closed"))
    assert set(Assignment.objects.values_list("state", flat=True)) == {State.CANCELLED}


@pytest.mark.parametrize("state", ["draft", "open", "closed"])
@pytest.mark.django_db
def test_a_move_that_does_not_exist_changes_nothing(studio, state):
    campaign = make.campaign(state=CampaignState.CLOSED, closed_at=make.NOW)
    for answer in (studio.get(to(campaign, state), follow=True), studio.post(to(campaign, state), follow=True)):
        assert told(answer) == [str(refusals.NoSuchMove.message)]
    assert studio.post(to(campaign, "burnt")).status_code == 404
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.CLOSED


@pytest.mark.django_db
def test_an_open_campaign_is_changed_in_what_may_change(studio):
    campaign = make.campaign()
    address = reverse("studio:campaign-edit", args=[campaign.id])
    assert "pool" not in studio.get(address).context["form"].fields
    studio.post(address, CHANGES)
    campaign.refresh_from_db()
    assert (campaign.name, campaign.review_percent, campaign.overlap) == ("New name", 30, 3)


@pytest.mark.django_db
def test_a_page_that_is_older_than_the_opening_changes_nothing_silently(studio):
    campaign = make.campaign()
    before = campaign.name
    response = studio.post(reverse("studio:campaign-edit", args=[campaign.id]), CHANGES | {"pool": make.pool().id})
    assert response.context["form"].non_field_errors() == [str(refusals.CampaignFixed.message)]
    campaign.refresh_from_db()
    assert campaign.name == before


@pytest.mark.django_db
def test_a_change_drops_nobody_who_may_not_work_any_more(studio):
    """Without names a campaign is open to everybody of its cohorts."""
    campaign, anna = make.campaign(), make.user()
    campaign.labelers.add(anna)
    anna.is_active = False
    anna.save()
    address = reverse("studio:campaign-edit", args=[campaign.id])
    field = studio.get(address).context["form"]["labelers"]
    assert [int(str(box.data["value"])) for box in field if box.data["selected"]] == [anna.id]
    studio.post(address, CHANGES | {"labelers": [anna.id]})
    campaign.refresh_from_db()
    assert (campaign.name, [*campaign.labelers.all()]) == ("New name", [anna])
    assert not is_eligible(campaign, make.user())


@pytest.mark.django_db
def test_a_small_campaigns_changed_overlap_is_there_at_once(studio):
    campaign = with_tasks(make.campaign(), 2)
    studio.post(reverse("studio:campaign-edit", args=[campaign.id]), CHANGES)
    campaign.refresh_from_db()
    assert (campaign.matched_to, campaign.assignments.count()) == (None, 6)


@pytest.mark.django_db
def test_what_a_large_campaigns_changed_overlap_leaves_to_the_worker_is_shown(
    studio, django_capture_on_commit_callbacks, monkeypatch
):
    sent = []
    monkeypatch.setattr("annotate.lib.wake.app.send_task", lambda task, args, **_: sent.append((task, args)))
    monkeypatch.setattr("annotate.work.filling.TASKS_A_STEP", 1)
    campaign = with_tasks(make.campaign(), 4)
    with django_capture_on_commit_callbacks(execute=True):
        page = studio.post(reverse("studio:campaign-edit", args=[campaign.id]), CHANGES, follow=True)
    assert "3 answers" in fact(page, "matching")
    assert "25 %" in words(page)
    assert sent == [("workflows.fill_campaigns", (campaign.pool_id,))]
    fill_campaigns()
    assert fact(studio.get(reverse("studio:campaign-progress", args=[campaign.id])), "matching") is None
    assert campaign.assignments.count() == 12


@pytest.mark.django_db
def test_the_page_says_how_many_of_the_prompts_have_their_task(studio):
    campaign = with_tasks(make.campaign(), 2)
    address = reverse("studio:campaign-progress", args=[campaign.id])
    assert fact(studio.get(address), "being-filled") is None
    make.prompt(campaign.pool)
    part = studio.get(address)
    assert fact(part, "being-filled")
    assert "2 of 3" in words(part)


@pytest.mark.django_db
def test_prompts_without_completions_enough_for_a_ranking_are_counted(studio):
    campaign = with_tasks(make.campaign("rankings"), 1)
    make.prompt(campaign.pool)
    page = studio.get(reverse("studio:campaign", args=[campaign.id]))
    said = fact(page, "without-slate")
    assert said.startswith("1 of the pool's 2 prompts has no task")
    assert "fewer than 4 different completions" in said


@pytest.mark.django_db
def test_the_numbers_of_a_large_campaign_are_kept_and_the_part_counts_anew(studio, monkeypatch):
    monkeypatch.setattr("annotate.workflows.counts.LARGE", 1)
    campaign = with_tasks(make.campaign(), 2)
    page = reverse("studio:campaign", args=[campaign.id])
    assert "0 of 2" in words(studio.get(page))
    answered(campaign, make.user())
    kept = studio.get(page)
    assert "0 of 2" in words(kept)
    assert fact(kept, "counted-at")
    assert studio.get(reverse("studio:campaigns")).context["rows"][0][1].answered == 0
    monkeypatch.setattr("annotate.workflows.counts.FRESH", timedelta())
    assert "1 of 2" in words(studio.get(reverse("studio:campaign-progress", args=[campaign.id])))


@pytest.mark.django_db
def test_the_page_tells_the_median_active_time(studio):
    campaign = with_tasks(make.campaign(), 3)
    page = reverse("studio:campaign", args=[campaign.id])
    for seconds in (60, 200, None):
        Assignment.objects.filter(id=answered(campaign, make.user()).id).update(active_seconds=seconds)
    assert fact(studio.get(page), "active-time").startswith("2 min 10 s ")
    Assignment.objects.update(active_seconds=None)
    assert fact(studio.get(page), "active-time") is None


@pytest.mark.django_db
def test_a_refused_change_leaves_the_campaign_and_its_title(studio):
    campaign, other = make.campaign(), make.campaign()
    address = reverse("studio:campaign-edit", args=[campaign.id])
    response = studio.post(address, {"name": other.name, "review_percent": 30, "lease_minutes": 15})
    assert f"<h1>Change {campaign.name}</h1>" in words(response)
    assert "name" in response.context["form"].errors
    campaign.refresh_from_db()
    assert campaign.review_percent == 0


@pytest.mark.django_db
def test_a_closed_campaign_is_not_changed(studio):
    campaign = make.campaign(state=CampaignState.CLOSED, closed_at=make.NOW)
    address = reverse("studio:campaign-edit", args=[campaign.id])
    response = studio.post(address, CHANGES)
    assert str(refusals.CampaignFixed.message) in words(response)
    campaign.refresh_from_db()
    assert campaign.name != "New name"


@pytest.mark.django_db
def test_the_page_counts_each_labeler_and_tells_skips_with_their_reasons(studio):
    campaign = with_tasks(make.campaign(review_percent=100), 3)
    lea, leo = make.user(username="lea"), make.user(username="leo")
    answered(campaign, lea)
    make.acknowledge(leo, campaign)
    held = leases.claim(campaign_id=campaign.id, labeler=leo, now=make.NOW)
    leases.skip(assignment_id=held.id, labeler=leo, reason="expertise", note="Needs a chemist", now=make.NOW)
    response = studio.get(reverse("studio:campaign", args=[campaign.id]))
    counts = {person.username: counts for person, counts in response.context["labelers"]}
    assert (counts["lea"].submitted, counts["lea"].skipped) == (1, 0)
    assert (counts["leo"].submitted, counts["leo"].skipped) == (0, 1)
    assert "It needs knowledge that I do not have" in words(response)
    assert "Needs a chemist" in words(response)


@pytest.mark.django_db
def test_a_sent_back_answer_can_be_asked_of_somebody_else(studio, reviewer):
    campaign = with_tasks(make.campaign(review_percent=100))
    assignment = answered(campaign, make.user())
    work_on = {"assignment_id": assignment.id, "reviewer": reviewer, "now": make.NOW}
    from django.db import transaction

    with transaction.atomic():
        send_back(**work_on, comment="Too short")
    page = words(studio.get(reverse("studio:campaign", args=[campaign.id])))
    assert "Too short" in page
    address = reverse("studio:replace-sent-back", args=[campaign.id, assignment.id])
    assert address in page
    studio.post(address)
    assert sorted(Assignment.objects.values_list("state", flat=True)) == [State.CANCELLED, State.OPEN]
    assert "no longer waiting" in told(studio.post(address, follow=True))[-1]
    assert Assignment.objects.count() == 2


@pytest.mark.django_db
def test_another_campaigns_answer_is_not_found(studio):
    assignment = answered(with_tasks(make.campaign(review_percent=100)), make.user())
    other = make.campaign()
    assert studio.post(reverse("studio:replace-sent-back", args=[other.id, assignment.id])).status_code == 404


@pytest.mark.parametrize(
    ("form", "made"),
    [
        ({"kind": "plain", "count": 3}, ["", "", ""]),
        ({"kind": "few_shot", "count": 1, "use_cases": "ignored"}, [""]),
        ({"kind": "user_based", "use_cases": "A bakery\n\n  A school \n"}, ["A bakery", "A school"]),
    ],
)
@pytest.mark.django_db
def test_new_instructions_are_asked_for(studio, form, made):
    campaign = make.campaign("instructions")
    studio.post(reverse("studio:campaign-briefs", args=[campaign.id]), form)
    assert [brief.use_case for brief in Brief.objects.order_by("id")] == made
    assert Task.objects.filter(campaign=campaign, prompt=None).count() == len(made)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"kind": "plain"}, "count"),
        ({"kind": "plain", "count": 501}, "count"),
        ({"kind": "user_based", "count": 2, "use_cases": " \n"}, "use_cases"),
        ({"kind": "haiku", "count": 2}, "kind"),
    ],
)
@pytest.mark.django_db
def test_a_request_for_nothing_is_refused_on_the_campaigns_page(studio, form, field):
    campaign = make.campaign("instructions")
    response = studio.post(reverse("studio:campaign-briefs", args=[campaign.id]), form)
    assert set(response.context["briefs_form"].errors) == {field}
    assert campaign.name in words(response)
    assert not Brief.objects.exists()


@pytest.mark.django_db
def test_only_instruction_campaigns_take_briefs(studio):
    form = {"kind": "plain", "count": 1}
    other = make.campaign("demonstrations")
    assert studio.post(reverse("studio:campaign-briefs", args=[other.id]), form).status_code == 404
    closed = make.campaign("instructions", state=CampaignState.CLOSED, closed_at=make.NOW)
    studio.post(reverse("studio:campaign-briefs", args=[closed.id]), form)
    assert not Brief.objects.exists()


@pytest.mark.django_db
def test_the_list_costs_the_same_queries_however_long_it_is(studio, django_assert_num_queries):
    for rows in (1, 2):
        for _ in range(rows):
            answered(with_tasks(make.campaign()), make.user())
        # Session, user, count, campaigns, numbers that are kept, progress.
        with django_assert_num_queries(6):
            response = studio.get(reverse("studio:campaigns"))
    assert [progress.answered for _campaign, progress in response.context["rows"]] == [1, 1, 1]


@pytest.mark.django_db
def test_the_page_costs_the_same_queries_however_many_labelers_work(studio, django_assert_num_queries):
    campaign = with_tasks(make.campaign(review_percent=100), 6)
    counts = []
    for people in (1, 2):
        for _ in range(people):
            answered(campaign, labeler := make.user())
            held = leases.claim(campaign_id=campaign.id, labeler=labeler, now=make.NOW)
            leases.skip(assignment_id=held.id, labeler=labeler, reason="other", note="", now=make.NOW)
        with django_assert_num_queries(18):
            counts.append(len(studio.get(reverse("studio:campaign", args=[campaign.id])).context["labelers"]))
    assert counts == [1, 3]


@pytest.mark.django_db
def test_an_empty_list_says_what_to_do(studio):
    assert reverse("studio:campaign-kind") in words(studio.get(reverse("studio:campaigns")))


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
@pytest.mark.django_db
def test_nobody_but_managers_opens_a_campaign(role):
    campaign = draft()
    assert client_of(make.user(role)).post(to(campaign, "open")).status_code == 403
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT


@pytest.mark.django_db
def test_the_progress_part_keeps_itself_up_to_date_while_people_work(studio):
    campaign = with_tasks(make.campaign(), 2)
    address = reverse("studio:campaign-progress", args=[campaign.id])
    answered(campaign, make.user())
    part = words(studio.get(address))
    assert "1 of 2" in part
    assert f'hx-get="{address}"' in part
    assert "<html" not in part
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=make.NOW)
    assert "hx-get" not in words(studio.get(address))
