from collections import Counter
from dataclasses import dataclass

from django.contrib.postgres.search import SearchQuery
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate.pools.models import ImportJob, ImportLine, Pool, Prompt, QuarantineEvent, Split


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Empty criteria match everything. `words` uses web search syntax: "exact phrase", -without, or."""

    words: str = ""
    kind: str = ""
    source: str = ""
    category: str = ""
    split: str = ""
    language: str = ""


def find_prompts(pool: Pool, filters: Filters) -> QuerySet[Prompt]:
    columns = {
        "kind": filters.kind,
        "source": filters.source,
        "category": filters.category,
        "group__split": filters.split,
        "language": filters.language,
    }
    matching = pool.prompts.filter(**{column: value for column, value in columns.items() if value})
    return search_prompts(matching, filters.words).select_related("group").order_by("-id")


def search_prompts(prompts: QuerySet[Prompt], words: str) -> QuerySet[Prompt]:
    words = words.replace("\x00", " ").strip()
    if words:
        prompts = prompts.filter(search=SearchQuery(words, config="simple", search_type="websearch"))
    return prompts.defer("search")


def pools() -> QuerySet[Pool]:
    counted = Prompt.objects.filter(pool=OuterRef("id")).order_by().values("pool").annotate(n=Count("id"))
    return Pool.objects.annotate(size=Coalesce(Subquery(counted.values("n")), 0)).order_by("name")


@dataclass(frozen=True)
class Counts:
    total: int
    kinds: Counter[str]
    sources: Counter[str]
    categories: Counter[str]
    languages: Counter[str]
    splits: Counter[str]

    @property
    def valid_percent(self) -> int:
        return round(100 * self.splits[Split.VALID] / self.total) if self.total else 0


def count_prompts(pool: Pool) -> Counts:
    columns = ("kind", "source", "category", "language", "group__split")
    rows = list(pool.prompts.order_by().values_list(*columns).annotate(n=Count("id")))
    sums: list[Counter[str]] = [Counter() for _column in columns]
    for *values, number in rows:
        for counter, value in zip(sums, values, strict=True):
            counter[value] += number
    return Counts(sum(row[-1] for row in rows), *sums)


def quarantined(pool: Pool) -> QuerySet[Prompt]:
    return (
        pool.prompts.filter(quarantined_at__isnull=False)
        .select_related("group", "quarantine_twin__group", "quarantine_twin__pool", "quarantine_decided_by")
        .defer("search", "quarantine_twin__search")
        .order_by(F("quarantine_decided_at").asc(nulls_first=True), "quarantined_at", "id")
    )


@dataclass(frozen=True)
class Quarantine:
    total: int
    undecided: int


def count_quarantine(pool: Pool) -> Quarantine:
    undecided = Count("id", filter=Q(quarantine_decided_at=None))
    counts = pool.prompts.filter(quarantined_at__isnull=False).aggregate(total=Count("id"), undecided=undecided)
    return Quarantine(**counts)


def decisions(prompt: Prompt) -> QuerySet[QuarantineEvent]:
    return prompt.quarantine_events.select_related("actor").order_by("-id")


def imports(pool: Pool) -> QuerySet[ImportJob]:
    return pool.imports.select_related("created_by").order_by("-id")


def quarantined_lines(job: ImportJob) -> QuerySet[ImportLine]:
    lines = import_lines(job).filter(refusal="", prompt__quarantined_at__isnull=False)
    return lines.select_related("prompt__quarantine_twin").defer("prompt__search", "prompt__quarantine_twin__search")


def import_lines(job: ImportJob, *, refused_only: bool = False) -> QuerySet[ImportLine]:
    lines = job.lines.select_related("prompt").defer("prompt__search")
    return (lines.exclude(refusal="") if refused_only else lines).order_by("number")
