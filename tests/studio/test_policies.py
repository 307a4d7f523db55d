"""A manager registers policies, says which one is current, and learns what a server can do."""

from datetime import timedelta

import pytest
from django.urls import reverse

from annotate.samples import policies, probes, runs
from annotate.samples.models import CurrentPolicy, Origin, Policy, Stage
from annotate.samples.queries import current_policy
from tests import factories as make
from tests.studio.conftest import told, words


@pytest.mark.django_db
def test_a_form_becomes_a_policy(studio):
    form = {
        "name": "tiny",
        "revision": "2",
        "stage": "sft",
        "origin": "local",
        "location": "/models/x",
        "dtype": "auto",
        "quantisation": "none",
    }
    response = studio.post(reverse("studio:policy-new"), form)
    policy = Policy.objects.get()
    assert (str(policy), policy.location) == ("tiny · 2", "/models/x")
    assert response.url == reverse("studio:policy", args=[policy.id])


@pytest.mark.django_db
def test_the_page_of_a_policy_says_how_its_weights_are_loaded(studio):
    examples = [{"role": "user", "content": "The capital of Japan?"}, {"role": "assistant", "content": "Tokyo."}]
    policy = make.policy(adapter="/models/lora", quantisation="nf4", unsafe_weights=True, examples=examples)
    text = words(studio.get(reverse("studio:policy", args=[policy.id])))
    unsafe = 'data-fact="unsafe-weights"'
    for said in (
        "/models/lora",
        "4 bits (nf4)",
        unsafe,
        "2 messages before every prompt",
        "Tokyo.",
    ):
        assert said in text
    plain = words(studio.get(reverse("studio:policy", args=[make.policy().id])))
    for said in ("Adapter", "4 bits", unsafe, "before every prompt"):
        assert said not in plain


@pytest.mark.django_db
def test_a_policy_without_its_folder_is_refused_at_its_field(studio):
    form = {"name": "tiny", "revision": "2", "stage": "sft", "origin": "local", "dtype": "auto", "quantisation": "none"}
    assert set(studio.post(reverse("studio:policy-new"), form).context["form"].errors) == {"location"}
    assert not Policy.objects.exists()


@pytest.mark.django_db
def test_the_current_pointer_is_moved_by_a_post_alone(studio, manager):
    policy = make.policy()
    address = reverse("studio:policy-current", args=[policy.id])
    assert studio.get(address).url == reverse("studio:policy", args=[policy.id])
    assert current_policy(Stage.SFT) is None
    response = studio.post(address, follow=True)
    assert current_policy(Stage.SFT) == policy
    assert CurrentPolicy.objects.get().moved_by == manager
    assert "Current SFT policy" in words(response)


@pytest.mark.django_db
def test_imported_completions_are_no_current_policy(studio):
    policy = make.policy(origin=Origin.IMPORTED, location="")
    response = studio.post(reverse("studio:policy-current", args=[policy.id]), follow=True)
    assert told(response) == [str(policies.NotSampledHere.message)]
    assert not CurrentPolicy.objects.exists()
    assert "Sample from it" not in words(studio.get(reverse("studio:policy", args=[policy.id])))


@pytest.mark.django_db
def test_a_policy_tells_where_it_is_used(studio, manager):
    policy, pool = make.policy(), make.pool("Bakery")
    prompt = make.prompt(pool)
    make.completion(prompt, policy)
    campaign = make.campaign("rankings", over=pool)
    campaign.rankingsettings.policies.add(policy)
    run = runs.start(
        pool=pool,
        policy=policy,
        k=2,
        temperature=1,
        top_p=1,
        max_new_tokens=8,
        stop=[],
        seed=1,
        by=manager,
        now=make.NOW,
    )
    policies.move_current(stage="sft", policy=policy, by=manager, now=make.NOW)
    text = words(studio.get(reverse("studio:policy", args=[policy.id])))
    assert campaign.name in text
    assert reverse("studio:run", args=[run.id]) in text
    assert "set by mia" in text


@pytest.mark.django_db
def test_the_list_costs_the_same_queries_however_long_it_is(studio, django_assert_num_queries):
    assert "No policy yet" in words(studio.get(reverse("studio:policies")))
    for rows in (1, 2):
        for _ in range(rows):
            make.policy()
        # Session, user, count, policies.
        with django_assert_num_queries(4):
            page = studio.get(reverse("studio:policies")).context["page"]
    assert page.paginator.count == 3


@pytest.mark.django_db
def test_a_server_is_probed_watched_and_asked_again(studio):
    form = {"name": "tiny", "revision": "1", "stage": "sft", "origin": "server", "location": "http://gpu1:8000"}
    form |= {"served_model": "sft", "endpoint": "chat", "dtype": "auto", "quantisation": "none"}
    studio.post(reverse("studio:policy-new"), form)
    policy = Policy.objects.get()
    page = reverse("studio:policy", args=[policy.id])
    progress, again = (reverse(f"studio:policy-probe{part}", args=[policy.id]) for part in ("-progress", ""))
    text = words(studio.get(page))
    assert "Waiting for a worker" in text
    assert 'data-fact="reproducibility-unknown"' in text
    assert f'hx-get="{progress}"' in words(studio.get(progress))
    assert told(studio.post(again, follow=True)) == [str(probes.ProbeUnderWay.message)]

    probe = probes.claim(worker="w", lease=timedelta(minutes=1), now=make.NOW)
    findings = {"takes_seed": True, "seed": False, "stop": "stays", "n": False, "length": None, "model": "sft@7"}
    probes.finish(probe=probe, findings=findings, now=make.NOW)
    ended = studio.get(progress)
    assert ended["HX-Refresh"] == "true"
    assert "hx-get" not in words(ended)
    text = words(studio.get(page))
    assert "cannot be reproduced" in text
    assert "leaves the stop string in the text" in text
    assert "<code>sft@7</code>" in text
    assert '<span class="badge" data-tone="warn">Not reproducible</span>' in text
    assert "Not reproducible" in words(studio.get(reverse("studio:policies")))

    assert studio.get(again).url == page
    assert studio.post(again).url == page
    probe = probes.claim(worker="w", lease=timedelta(minutes=1), now=make.NOW)
    probes.fail(probe=probe, error="The server gpu1:8000 cannot be reached.")
    text = words(studio.get(page))
    assert "The server gpu1:8000 cannot be reached." in text
    assert "sft@7" in text


@pytest.mark.django_db
def test_only_a_server_is_probed(studio):
    policy = make.policy()
    response = studio.post(reverse("studio:policy-probe", args=[policy.id]), follow=True)
    assert told(response) == [str(probes.NoServer.message)]
    assert 'id="probe"' not in words(response)
    assert studio.get(reverse("studio:policy-probe-progress", args=[policy.id])).status_code == 404
