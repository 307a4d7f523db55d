from typing import IO, Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.lib.languages import BadLanguage, canonical
from annotate.pools.models import MAX_PRIORITY, Category, ImportKind, Kind, Pool, Prompt, Source, Split
from annotate.pools.queries import Filters

ANY = ("", _("All"))
COLUMNS = ("kind", "source", "category", "language", "licence")


class PoolForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=Pool._meta.get_field("name").max_length)
    description = forms.CharField(
        label=_("Description"), required=False, widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"})
    )


class ImportForm(forms.Form):
    file = forms.FileField(
        label=_("File"),
        help_text=_("JSONL (one object per line) or CSV with a header, in UTF-8."),
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.json,.csv,.tsv"}),
    )
    content = forms.ChoiceField(
        label=_("Content"),
        choices=[
            (ImportKind.PROMPTS, _("Prompts")),
            (ImportKind.COMPLETIONS, _("Completions of prompts in this pool")),
        ],
        initial=ImportKind.PROMPTS,
    )
    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=Kind.choices)
    source = forms.ChoiceField(label=_("Source"), required=False, choices=Source.choices)
    category = forms.ChoiceField(label=_("Use case"), required=False, choices=[("", _("Unknown")), *Category.choices])
    language = forms.CharField(
        label=_("Language"),
        required=False,
        initial="en",
        max_length=Prompt._meta.get_field("language").max_length,
        help_text=_("A tag such as en or pt-BR."),
    )
    licence = forms.CharField(
        label=_("Licence"), required=False, max_length=Prompt._meta.get_field("licence").max_length
    )
    model = forms.CharField(
        label=_("Model"),
        required=False,
        max_length=120,
        help_text=_("The model that wrote the completions, for lines that do not name one."),
    )

    def clean_language(self) -> str:
        tag = str(self.cleaned_data["language"])
        try:
            return canonical(tag) if tag else ""
        except BadLanguage as bad:
            raise forms.ValidationError(str(bad)) from bad

    def file_of(self) -> IO[bytes]:
        return cast(IO[bytes], self.cleaned_data["file"])

    def defaults(self) -> dict[str, str]:
        values: dict[str, Any] = self.cleaned_data
        columns = ("model",) if values["content"] == ImportKind.COMPLETIONS else COLUMNS
        return {name: values[name] for name in columns if values[name]}


class PriorityForm(forms.Form):
    priority = forms.IntegerField(
        label=_("Priority"),
        min_value=-MAX_PRIORITY,
        max_value=MAX_PRIORITY,
        help_text=_("From -1000 to 1000. Higher comes first in campaigns that use priorities."),
    )


class PromptSearchForm(forms.Form):
    words = forms.CharField(
        label=_("Words"), required=False, max_length=200, widget=forms.SearchInput, help_text=_('"a phrase", -without')
    )
    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=[ANY, *Kind.choices])
    source = forms.ChoiceField(label=_("Source"), required=False, choices=[ANY, *Source.choices])
    category = forms.ChoiceField(label=_("Use case"), required=False, choices=[ANY, *Category.choices])
    split = forms.ChoiceField(label=_("Split"), required=False, choices=[ANY, *Split.choices])
    language = forms.CharField(label=_("Language"), required=False, max_length=16)

    def clean_language(self) -> str:
        tag = str(self.cleaned_data["language"])
        try:
            return canonical(tag) if tag else ""
        except BadLanguage:
            # no prompt has it, so the list is empty
            return tag

    def filters(self) -> Filters:
        """Invalid values in the address are ignored."""
        self.full_clean()
        return Filters(**{name: self.cleaned_data.get(name, "") for name in self.fields})
