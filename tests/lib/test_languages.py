"""Language tags: one written form, and who takes tasks in which."""

from importlib import import_module

import pytest
from django.apps import apps

from annotate.lib.languages import BadLanguage, canonical, matches
from annotate.pools.models import Prompt
from annotate.work.filling import add_tasks
from annotate.work.models import Assignment, Campaign, Seat
from tests import factories as make


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("en", "en"),
        ("EN_gb", "en-GB"),
        (" pt-br ", "pt-BR"),
        ("eng-GB", "en-GB"),
        ("deu_Latn", "de"),
        ("zh_hant_tw", "zh-Hant-TW"),
        ("zh-cmn-Hans", "zh-Hans"),
        ("iw", "he"),
        ("en-UK", "en-GB"),
        ("sgn-UK", "bfi"),
        ("i-klingon", "tlh"),
        ("en-GB-oed", "en-GB-oxendict"),
        ("es-419", "es-419"),
        ("X-Whale", "x-whale"),
        ("en-x-Team", "en-x-team"),
        ("und", "und"),
    ],
)
def test_a_tag_has_one_written_form(tag, written):
    assert canonical(tag) == canonical(written) == written


@pytest.mark.parametrize(
    "tag", ["", " ", "German", "Portuguese", "jp", "en--GB", "en_US.UTF-8", "en-ZZZZZ-", "<b>", "x" * 99]
)
def test_what_is_not_a_registered_tag_is_refused_by_its_name(tag):
    with pytest.raises(BadLanguage, match="is not a language tag"):
        canonical(tag)


@pytest.mark.parametrize(
    ("spoken", "taken", "not_taken"),
    [
        ("en-GB", ["en", "en-GB", "EN_gb", "eng", "en-Latn", "und", "zxx"], ["en-US", "de", "en-Shaw", "mul"]),
        ("en", ["en", "en-GB", "en-US", "en-x-team"], ["de", "fr-GB"]),
        ("pt-BR", ["pt", "pt-BR"], ["pt-PT", "es-BR"]),
        ("es-419", ["es"], ["es-MX", "es-ES"]),
        ("zh", ["zh-Hant", "zh-Hans", "zh-TW", "cmn"], ["yue"]),
        ("zh-Hant", ["zh", "zh-TW", "zh-Hant-HK"], ["zh-Hans", "zh-CN"]),
        ("zh-TW", ["zh", "zh-Hant"], ["zh-Hans", "zh-HK"]),
        ("sr", ["sr-Latn", "sr-Cyrl", "sh"], ["hr"]),
        ("sr-Latn", ["sr", "sr-ME"], ["sr-Cyrl", "sr-RS"]),
        ("hi-Latn", [], ["hi", "hi-IN", "hi-Deva"]),
        ("no", ["nb", "nn", "no"], ["da"]),
        ("nb", ["no"], ["nn"]),
        ("de-1996", ["de", "de-CH"], ["de-1901"]),
        ("en-u-ca-buddhist", ["en", "en-GB"], []),
        ("x-whale", ["x-whale"], ["x-bird", "en"]),
        ("not a tag", ["Not a tag"], ["en"]),
    ],
)
def test_a_tag_that_leaves_something_open_matches_and_one_that_contradicts_does_not(spoken, taken, not_taken):
    assert [tag for tag in taken + not_taken if matches(spoken, tag)] == taken


@pytest.mark.django_db
def test_tags_stored_before_are_rewritten_everywhere_alike():
    labeler = make.user(languages=["pt_br", "pt-BR", "deu", "not a tag"])
    prompt = make.prompt(make.pool(), language="pt-br")
    odd = make.prompt(prompt.pool, language="jp")
    campaign = make.campaign(over=prompt.pool)
    add_tasks(campaign=campaign, prompts=Prompt.objects.filter(id=prompt.id), now=make.NOW)
    slot = Assignment.objects.get()
    Campaign.objects.filter(id=campaign.id).update(languages=["de", "jp", "pt-br"])
    seat = Seat.objects.create(campaign=campaign, labeler=labeler, languages=["pt-br"])
    for module in ("accounts.migrations.0005", "pools.migrations.0006", "work.migrations.0005"):
        import_module(f"annotate.{module}_canonical_languages").rewrite(apps, None)
    labeler.refresh_from_db()
    assert labeler.languages == ["pt-BR", "de", "not a tag"]
    assert dict(Prompt.objects.values_list("id", "language")) == {prompt.id: "pt-BR", odd.id: "jp"}
    assert Assignment.objects.get(id=slot.id).language == "pt-BR"
    assert Campaign.objects.get(id=campaign.id).languages == ["de", "jp", "pt-BR"]
    assert Seat.objects.get(id=seat.id).languages == ["pt-BR"]
