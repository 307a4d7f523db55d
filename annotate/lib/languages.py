"""Language tags by BCP 47: one written form for each tag, and which tasks somebody who works in a language can take.

People, prompts, imports and the API all use these two functions, so that `EN_gb`, `en-GB` and `eng-GB` are one tag.
"""

from functools import lru_cache
from typing import Final

from django.utils.translation import gettext as _
from langcodes import Language, standardize_tag, tag_is_valid
from langcodes.tag_parser import LanguageTagError

from annotate.lib.refusals import Refusal

# Text in no language (zxx) and text whose language nobody has determined (und, which parses as None) is for everybody.
NO_LANGUAGE: Final = (None, "zxx")
NORWEGIAN: Final = ({"no", "nb"}, {"no", "nn"})


class BadLanguage(Refusal):
    """This is not a language tag; the message says what to write instead."""


@lru_cache(maxsize=4096)
def canonical(tag: str) -> str:
    """The tag as BCP 47 recommends to write it: `en-GB` for `EN_gb`, `de` for `deu_Latn`, `he` for `iw`.

    Scripts that a language is usually written in are left out (RFC 5646, Suppress-Script), deprecated and three-letter
    codes are replaced by their current ones. Raises BadLanguage for what the IANA registry does not know.
    """
    try:
        # Twice, because replacing the region may make a tag that is itself replaced: sgn-UK, sgn-GB, bfi.
        written = standardize_tag(standardize_tag(tag.strip()))
        known = tag_is_valid(written)
    except LanguageTagError:
        known = False
    if not known:
        raise BadLanguage(_("“%(value)s” is not a language tag; write one such as en or pt-BR.") % {"value": tag[:40]})
    return written


@lru_cache(maxsize=65536)
def matches(spoken: str, tag: str) -> bool:
    """Does somebody who works in `spoken` take tasks in `tag`?

    The languages must be equal, and a script, region or variant must be equal where both tags have one: a tag that
    leaves it open matches either way. So `en-GB` takes `en` and `en-GB`, but not `en-US`; `en` takes all three;
    `zh-Hant` does not take `zh-Hans`, nor `zh-CN`, whose region implies its script; `pt-BR` does not take `pt-PT`.
    `cmn` is `zh` and `arb` is `ar`, as in CLDR; `no` is both `nb` and `nn`, which are two; `yue` is not `zh`.
    """
    try:
        ours, theirs = (Language.get(standardize_tag(each, macro=True)) for each in (spoken, tag))
    except LanguageTagError:
        # A tag from before tags were checked.
        return spoken.casefold() == tag.casefold()
    if theirs.language in NO_LANGUAGE:
        return True
    return (
        (ours.language == theirs.language or {ours.language, theirs.language} in NORWEGIAN)
        and _agree(_script(ours), _script(theirs))
        and _agree(ours.territory, theirs.territory)
        and _variants_agree(ours, theirs)
    )


def _agree(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


def _script(language: Language) -> str | None:
    """The script that a tag says, or that its language or region implies: Latn for `en`, Hant for `zh-TW`.

    None for `zh` and `sr`, which are written in two.
    """
    script = language.assume_script().script
    return language.maximize().script if script is None and language.territory else script


def _variants_agree(ours: Language, theirs: Language) -> bool:
    """Variants and private subtags; extensions such as -u- choose a calendar or an order, not a language."""
    one, other = ({*(each.variants or ()), each.private} - {None} for each in (ours, theirs))
    return one <= other or other <= one
