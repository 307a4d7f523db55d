"""Finding prompts in a pool."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotate.pools import queries
from annotate.pools.forms import ImportForm, PoolForm, PromptSearchForm
from annotate.pools.models import ImportJob, ImportKind, ImportLine, Kind, Prompt, Source, Split
from annotate.pools.queries import Filters
from tests import factories as make

NOW = make.NOW


@pytest.fixture
def pool(db):
    pool = make.pool()
    train, valid = make.group(split=Split.TRAIN), make.group(split=Split.VALID)
    make.prompt(pool, "Write a poem about the sea.", in_group=train, category="generation")
    make.prompt(pool, "Summarize this poem.", in_group=valid, category="summarization", language="fr")
    make.prompt(pool, "Is the sea blue?", in_group=train, kind=Kind.USER_BASED, source=Source.CUSTOMER)
    make.prompt(make.pool(), "A poem of another pool, about the sea")
    return pool


def found(pool, **filters):
    return [prompt.text.split()[0] for prompt in queries.find_prompts(pool, Filters(**filters))]


def test_without_a_wish_everything_is_shown_newest_first(pool):
    assert found(pool) == ["Is", "Summarize", "Write"]


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        ("poem", ["Summarize", "Write"]),
        ("POEM", ["Summarize", "Write"]),
        ("poem sea", ["Write"]),
        ("poem -sea", ["Summarize"]),
        ("poem or blue", ["Is", "Summarize", "Write"]),
        ('"the sea"', ["Is", "Write"]),
        ('"sea the"', []),
        ("  ", ["Is", "Summarize", "Write"]),
        ('unbalanced " & | ! (', []),
        ("poem\x00", ["Summarize", "Write"]),
    ],
)
def test_words_are_searched_for_as_on_the_web(pool, words, texts):
    assert found(pool, words=words) == texts


@pytest.mark.parametrize(
    ("filters", "texts"),
    [
        ({"kind": "user_based"}, ["Is"]),
        ({"source": "labeler"}, ["Summarize", "Write"]),
        ({"category": "generation"}, ["Write"]),
        ({"split": "valid"}, ["Summarize"]),
        ({"language": "fr"}, ["Summarize"]),
        ({"split": "train", "words": "poem"}, ["Write"]),
    ],
)
def test_columns_narrow_the_list(pool, filters, texts):
    assert found(pool, **filters) == texts


def test_a_prompt_longer_than_an_index_entry_is_found_by_its_beginning(db):
    pool = make.pool()
    make.prompt(pool, "needle " + " ".join(f"w{n}" for n in range(150_000)))
    assert found(pool, words="needle") == ["needle"]


def test_the_form_makes_filters_and_ignores_what_is_no_choice():
    form = PromptSearchForm({"words": "sea", "kind": "plain", "split": "middle", "language": "pt_BR"})
    assert form.filters() == Filters(words="sea", kind="plain", language="pt-BR")
    assert PromptSearchForm({}).filters() == Filters()


def test_prompts_are_counted_by_every_column(pool, django_assert_num_queries):
    with django_assert_num_queries(1):
        counts = queries.count_prompts(pool)
    assert counts.total == 3
    assert counts.kinds == {"plain": 2, "user_based": 1}
    assert counts.sources == {"labeler": 2, "customer": 1}
    assert counts.categories == {"generation": 1, "summarization": 1, "": 1}
    assert counts.languages == {"en": 2, "fr": 1}
    assert counts.splits == {"train": 2, "valid": 1}
    assert counts.valid_percent == 33


def test_an_empty_pool_has_counts_too(db):
    counts = queries.count_prompts(make.pool())
    assert (counts.total, counts.valid_percent) == (0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 3])
def test_lists_cost_one_query(rows, django_assert_num_queries):
    for _ in range(rows):
        pool = make.pool()
        for _ in range(rows):
            make.prompt(pool)
            job = ImportJob.objects.create(
                pool=pool, kind=ImportKind.PROMPTS, file_name="a.jsonl", created_at=NOW, created_by=make.user("manager")
            )
    for number, prompt in enumerate(Prompt.objects.filter(pool=pool), start=1):
        ImportLine.objects.create(job=job, number=number, prompt=prompt)
    with django_assert_num_queries(1):
        assert [pool.size for pool in queries.pools()] == [rows] * rows
    with django_assert_num_queries(1):
        assert len([prompt.group.split for prompt in queries.find_prompts(pool, Filters())]) == rows
    with django_assert_num_queries(1):
        assert len([job.created_by.name for job in queries.imports(pool)]) == rows
    with django_assert_num_queries(1):
        assert len([line.prompt.text for line in queries.import_lines(job)]) == rows


def test_a_pool_needs_a_name():
    assert PoolForm({"name": " Poems ", "description": ""}).is_valid()
    assert list(PoolForm({"name": " "}).errors) == ["name"]
    assert list(PoolForm({"name": "x" * 121}).errors) == ["name"]


def import_form(data, name="prompts.jsonl", content=b'{"prompt": "a"}'):
    return ImportForm(data, {"file": SimpleUploadedFile(name, content)})


def test_an_import_brings_a_file_and_its_defaults():
    form = import_form({"content": "prompts", "kind": "plain", "source": "customer", "language": "de", "model": "x"})
    assert form.is_valid()
    assert form.file_of().read() == b'{"prompt": "a"}'
    assert form.defaults() == {"kind": "plain", "source": "customer", "language": "de"}


def test_completions_have_a_model_and_no_columns_of_prompts():
    form = import_form({"content": "completions", "kind": "plain", "language": "de", "model": "davinci"})
    assert form.is_valid()
    assert form.defaults() == {"model": "davinci"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("content", "poems"), ("kind", "x"), ("source", "x"), ("category", "x"), ("language", "German!")],
)
def test_what_is_no_choice_is_refused(field, value):
    form = import_form({"content": "prompts"} | {field: value})
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert list(ImportForm({"content": "prompts"}).errors) == ["file"]
