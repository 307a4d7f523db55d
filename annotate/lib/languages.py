from functools import lru_cache
from typing import Final

from django.utils.translation import gettext as _
from langcodes import Language, standardize_tag, tag_is_valid
from langcodes.tag_parser import LanguageTagError

from annotate.lib.refusals import Refusal

# und (undetermined) parses as None.
NO_LANGUAGE: Final = (None, "zxx")
NORWEGIAN: Final = ({"no", "nb"}, {"no", "nn"})


class BadLanguage(Refusal):
    """The text is not a language tag."""


@lru_cache(maxsize=4096)
def canonical(tag: str) -> str:
    """Return the form of BCP 47: `de` for `deu_Latn`. Raises BadLanguage for unregistered tags."""
    try:
        # Some tags have several replacements: sgn-UK, sgn-GB, bfi.
        written = standardize_tag(standardize_tag(tag.strip()))
        known = tag_is_valid(written)
    except LanguageTagError:
        known = False
    if not known:
        raise BadLanguage(_("“%(value)s” is not a language tag. Enter one such as en or pt-BR.") % {"value": tag[:40]})
    return written


@lru_cache(maxsize=65536)
def matches(spoken: str, tag: str) -> bool:
    """Does a labeler of the language `spoken` take tasks in `tag`?

    The languages must be equal, and so must script, region and variant if both tags have them. A region may imply a
    script: `zh-Hant` does not take `zh-CN`. As in CLDR, `cmn` is `zh`.
    """
    try:
        ours, theirs = (Language.get(standardize_tag(each, macro=True)) for each in (spoken, tag))
    except LanguageTagError:
        return spoken.casefold() == tag.casefold()  # tags older than the check
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
    script = language.assume_script().script
    return language.maximize().script if script is None and language.territory else script


def _variants_agree(ours: Language, theirs: Language) -> bool:
    one, other = ({*(each.variants or ()), each.private} - {None} for each in (ours, theirs))
    return one <= other or other <= one
