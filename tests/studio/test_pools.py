"""A manager makes a pool, looks into it, and reads all about one prompt."""

import pytest
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.pools.actions import NameTaken
from annotate.pools.models import Pool, Split
from annotate.work import filling
from tests import factories as make
from tests.studio.conftest import answered, client_of, words


@pytest.mark.django_db
def test_an_empty_list_says_what_to_do(studio):
    assert reverse("studio:pool-new") in words(studio.get(reverse("studio:pools"))).split("<main")[1]


@pytest.mark.django_db
def test_a_new_pool_leads_to_its_import(studio):
    response = studio.post(reverse("studio:pool-new"), {"name": "Bakery", "description": "Customers' messages"})
    pool = Pool.objects.get()
    assert (pool.name, pool.description) == ("Bakery", "Customers' messages")
    assert response.url == reverse("studio:import-new", args=[pool.id])


@pytest.mark.django_db
def test_a_taken_name_is_refused_at_its_field(studio):
    make.pool("Bakery")
    response = studio.post(reverse("studio:pool-new"), {"name": "Bakery"})
    assert response.context["form"].errors["name"] == [NameTaken.message]
    assert Pool.objects.count() == 1


@pytest.mark.django_db
def test_the_list_counts_by_split_source_and_kind_in_the_same_queries(studio, django_assert_num_queries):
    valid = make.group(split=Split.VALID)
    for pools in (1, 2):
        for _ in range(pools):
            pool = make.pool()
            make.prompt(pool)
            make.prompt(pool, source="customer")
            make.prompt(pool, kind="few_shot", in_group=valid)
        # Session, user, count, pools, counts.
        with django_assert_num_queries(5):
            rows = studio.get(reverse("studio:pools")).context["rows"]
    assert len(rows) == 3
    for _pool, counts in rows:
        assert (counts.total, counts.splits["train"], counts.splits["valid"]) == (3, 2, 1)
        assert (counts.sources["labeler"], counts.sources["customer"]) == (2, 1)
        assert (counts.kinds["plain"], counts.kinds["few_shot"], counts.kinds["user_based"]) == (2, 1, 0)


@pytest.fixture
def filled(db):
    pool = make.pool("Bakery")
    make.prompt(pool, "Write a poem about bread")
    make.prompt(pool, "Summarise this recipe for bread", source="customer", category="summarization")
    make.prompt(pool, "Name three rivers", in_group=make.group(split=Split.VALID))
    return pool


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["Name three rivers", "Summarise this recipe for bread", "Write a poem about bread"]),
        ({"words": "bread"}, ["Summarise this recipe for bread", "Write a poem about bread"]),
        ({"words": "bread -poem"}, ["Summarise this recipe for bread"]),
        ({"source": "customer"}, ["Summarise this recipe for bread"]),
        ({"split": "valid"}, ["Name three rivers"]),
        ({"words": "bread", "split": "valid"}, []),
    ],
)
def test_prompts_are_found_by_words_and_filters(studio, filled, asked, found):
    response = studio.get(reverse("studio:pool", args=[filled.id]), asked)
    assert [prompt.text for prompt in response.context["page"]] == found
    assert ('data-fact="no-match"' in words(response)) is (not found)


def test_a_pool_costs_the_same_queries_however_full_it_is(studio, filled, django_assert_num_queries):
    for prompts in (0, 20):
        for _ in range(prompts):
            make.prompt(filled)
        # Session, user, pool, counts, quarantine, imports, campaigns, and the page's count and rows.
        with django_assert_num_queries(9):
            page = studio.get(reverse("studio:pool", args=[filled.id])).context["page"]
    assert page.paginator.count == 23


def test_long_lists_keep_their_filter_from_page_to_page(studio, filled):
    for _ in range(30):
        make.prompt(filled, source="customer")
    address = reverse("studio:pool", args=[filled.id])
    response = studio.get(address, {"source": "customer", "page": 2})
    assert len(response.context["page"]) == 6
    assert "source=customer&amp;page=1" in words(response)


@pytest.mark.django_db
def test_an_empty_pool_says_what_to_do(studio):
    pool = make.pool()
    page = words(studio.get(reverse("studio:pool", args=[pool.id])))
    assert 'data-fact="empty-pool"' in page
    assert reverse("studio:import-new", args=[pool.id]) in page


@pytest.mark.django_db
def test_a_prompt_tells_its_lineage_its_completions_and_its_tasks(studio):
    campaign = make.campaign(name="Write answers")
    lea = make.user(username="lea")
    parent = make.prompt(campaign.pool, "The first wording")
    prompt = make.prompt(campaign.pool, "The better wording", parent=parent, author=lea, in_group=parent.group)
    make.completion(prompt, make.policy("davinci"), "A **completion**")
    make.completion(prompt, make.policy("curie"), " \u200b")
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.filter(id=prompt.id), now=make.NOW)
    answered(campaign, make.user())
    text = words(studio.get(reverse("studio:prompt", args=[prompt.id])))
    assert "The first wording" in text
    assert reverse("studio:person", args=[lea.id]) in text
    assert "davinci" in text
    assert "A <strong>completion</strong>" in text
    assert text.count("This completion is empty.") == 1
    assert "2 prompts, all on one side of the split" in text
    assert "1 of 1" in text
    assert "The better wording" in words(studio.get(reverse("studio:prompt", args=[parent.id])))


@pytest.mark.django_db
def test_a_prompt_costs_the_same_queries_however_many_completions_it_has(studio, django_assert_num_queries):
    prompt, policy = make.prompt(make.pool()), make.policy()
    for completions in (1, 2):
        for _ in range(completions):
            make.completion(prompt, policy)
        with django_assert_num_queries(9):
            page = studio.get(reverse("studio:prompt", args=[prompt.id])).context["page"]
    assert page.paginator.count == 3


@pytest.mark.django_db
def test_markup_in_a_prompt_is_shown_and_does_nothing(studio):
    prompt = make.prompt(make.pool(), "<script>alert(1)</script> <img src=x onerror=alert(2)>")
    make.completion(prompt, make.policy(), "<iframe src='https://example.org'></iframe>")
    text = words(studio.get(reverse("studio:prompt", args=[prompt.id]))).split("<main")[1]
    assert "&lt;script&gt;alert(1)" in text
    assert not any(tag in text for tag in ("<script>", "<img", "<iframe"))


@pytest.mark.parametrize(("asked", "given"), [("12", 12), ("1001", 0), ("", 0)])
def test_a_prompts_priority_is_changed_on_its_page(studio, asked, given):
    prompt = make.prompt(make.pool())
    address = reverse("studio:prompt-priority", args=[prompt.id])
    response = studio.post(address, {"priority": asked}, follow=True)
    prompt.refresh_from_db()
    assert prompt.priority == given
    assert f'<dd class="num">{given}</dd>' in words(response)
    assert bool(response.context["priority_form"].errors) == (str(given) != asked)


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
@pytest.mark.django_db
def test_nobody_but_managers_changes_a_priority(role):
    prompt = make.prompt(make.pool())
    address = reverse("studio:prompt-priority", args=[prompt.id])
    assert client_of(make.user(role)).post(address, {"priority": 5}).status_code == 403
    prompt.refresh_from_db()
    assert prompt.priority == 0
