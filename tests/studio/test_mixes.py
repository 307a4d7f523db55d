"""A manager says how a ranking campaign comes by its slates, and sees how that goes."""

import pytest
from django.urls import reverse

from annotate.rankings import slate_queries, slate_supply
from annotate.rankings.models import Mix, Slate
from annotate.rankings.rules import EQUAL_COMPLETIONS, LOW_ABOVE_HIGH
from annotate.rankings.states import SlateState
from annotate.samples import runs
from annotate.samples.models import SampleRequest, SampleRun
from annotate.workflows.tasks import fill_campaigns
from tests import factories as make
from tests.rankings.test_supply import move_to, sample
from tests.studio.conftest import fact, told, words

AHEAD = {"low": 2, "high": 4, "cut_off_allowed": "on"}


@pytest.fixture
def campaign(db):
    pool = make.pool()
    for _ in range(6):
        make.prompt(pool)
    return make.campaign("rankings", over=pool)


def page(name, campaign):
    return reverse(f"studio:{name}", args=[campaign.id])


def filled(*parts, **fields):
    """The form as a browser sends it; a part is (source, count, temperature)."""
    form = AHEAD | {"parts-TOTAL_FORMS": len(parts), "parts-INITIAL_FORMS": 0} | fields
    for number, (source, count, temperature) in enumerate(parts):
        values = {"source": source, "count": count, "temperature": temperature, "top_p": 1, "max_new_tokens": 64}
        form |= {f"parts-{number}-{name}": value for name, value in values.items()}
    return form


def test_a_mix_is_set_and_changed(studio, campaign):
    old, new = make.policy("wren"), make.policy("owl")
    move_to(old)
    assert "the one before" not in words(studio.get(page("campaign-mix", campaign)))
    move_to(new)
    text = words(studio.get(page("campaign-mix", campaign)))
    assert "SFT: current policy (now owl · 1)" in text
    assert "SFT: previous policy (now wren · 1)" in text
    form = filled(("current:sft", 2, 1), ("previous:sft", 1, 1), ("", 1, 1), (f"policy:{old.id}", 1, 1.4))
    assert studio.post(page("campaign-mix", campaign), form).url == page("campaign", campaign)
    parts = slate_queries.parts_of(campaign)
    assert [(part.pointer, part.policy_id, part.count, part.temperature) for part in parts] == [
        ("current", None, 2, 1.0),
        ("previous", None, 1, 1.0),
        ("", old.id, 1, 1.4),
    ]
    # Three parts and room for two more, each as it was typed.
    shown = studio.get(page("campaign-mix", campaign)).context["parts"]
    assert [form["source"].value() for form in shown] == ["current:sft", "previous:sft", f"policy:{old.id}", None, None]
    seed = Mix.objects.get().seed
    studio.post(page("campaign-mix", campaign), filled(("current:sft", 4, 1), renew="on"))
    mix = Mix.objects.get()
    assert (mix.seed, mix.renew, mix.low, mix.high, mix.parts.count()) == (seed, True, 2, 4, 1)


@pytest.mark.parametrize(
    ("parts", "fields", "words_of_refusal"),
    [
        ([("current:sft", 3, 1)], {}, "The parts add up to 3 completions. A slate has 4 to 9."),
        ([("", 1, 1), ("current:sft", 4, 0)], {}, str(EQUAL_COMPLETIONS)),
        ([("current:sft", 4, 1)], {"low": 9}, str(LOW_ABOVE_HIGH)),
        ([("current:sft", 10, 1)], {}, "less than or equal to 9"),
        ([("policy:999", 4, 1)], {}, "policy:999 is not one of the available choices"),
    ],
)
def test_a_refusal_stands_where_it_belongs(studio, campaign, parts, fields, words_of_refusal):
    move_to(make.policy())
    response = studio.post(page("campaign-mix", campaign), filled(*parts, **fields))
    assert words_of_refusal in words(response)
    assert not Mix.objects.exists()
    if "temperature 0" in words_of_refusal:
        # In the part that is meant, although one before it is left empty.
        assert [bool(form.non_field_errors()) for form in response.context["parts"]] == [False, True]


def test_without_parts_the_campaign_ranks_what_is_there(studio, campaign):
    text = words(studio.get(page("campaign", campaign)))
    assert 'data-fact="no-mix"' in text
    prompt, policy = campaign.pool.prompts.first(), make.policy()
    for said in ("same same same", "same same same.", "Same same same", "other"):
        make.completion(prompt, policy, said)
    fill_campaigns()
    assert Slate.objects.get().state == SlateState.NONE
    assert '<span class="num">1</span> · The completions are too much alike.' in words(
        studio.get(page("campaign", campaign))
    )
    make.completion(prompt, policy, "quite another one")
    make.completion(prompt, policy, "and one more")
    fill_campaigns()
    assert (campaign.tasks.get().candidates.count(), Slate.objects.count()) == (5, 0)


def test_the_campaigns_page_tells_how_its_slates_stand(studio, campaign):
    policy = make.policy("wren")
    move_to(policy)
    studio.post(page("campaign-mix", campaign), filled(("current:sft", 4, 0.8)))
    assert fact(studio.get(page("campaign", campaign)), "no-slate")
    fill_campaigns()
    part = page("campaign-slates", campaign)
    text = words(studio.get(part))
    assert f'hx-get="{part}"' in text
    assert "SFT, current policy" in text
    assert reverse("studio:run", args=[SampleRun.objects.get().id]) in text
    run = studio.get(reverse("studio:run", args=[SampleRun.objects.get().id]))
    assert fact(run, "campaign") == campaign.name
    assert 'data-fact="sampling">4<' in text
    sample(failing=[policy])
    fill_campaigns()
    text = words(studio.get(part))
    assert '<span class="num">4</span> · A policy of the mix failed.' in text
    assert 'data-fact="used-up"' not in text
    sample(failing=[policy])
    fill_campaigns()
    assert 'data-fact="used-up"' in words(studio.get(part))


def test_a_mix_that_stopped_goes_on_by_a_button(studio, campaign):
    move_to(make.policy())
    studio.post(page("campaign-mix", campaign), filled(("current:sft", 4, 1)))
    fill_campaigns()
    run = SampleRun.objects.get()
    runs.cancel(run=run, now=make.NOW)
    fill_campaigns()
    assert f"because run {run.id} was cancelled" in words(studio.get(page("campaign", campaign)))
    assert "More slates are being sampled." in told(studio.post(page("mix-go-on", campaign), follow=True))
    fill_campaigns()
    assert SampleRequest.objects.filter(state="waiting").count() == 4


def test_there_is_nothing_to_go_on_with_where_nothing_is_sampled(studio, campaign):
    assert told(studio.post(page("mix-go-on", campaign), follow=True)) == [str(slate_supply.NoMix.message)]
    type(campaign).objects.update(state="closed", closed_at=make.NOW)
    response = studio.post(page("campaign-mix", campaign), filled())
    assert response.context["form"].non_field_errors() == [str(slate_supply.MixFixed.message)]


def test_other_kinds_of_work_have_no_slates(studio, db):
    other = make.campaign()
    for name in ("campaign-slates", "campaign-mix"):
        assert studio.get(page(name, other)).status_code == 404
    assert studio.post(page("mix-go-on", other)).status_code == 404
