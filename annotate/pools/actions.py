"""Making pools, and putting prompts into them, one at a time or by the file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Final

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext, gettext_lazy

from annotate.accounts.models import User
from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.pools.importers import jobs
from annotate.pools.models import (
    ExampleText,
    ImportJob,
    ImportKind,
    ImportState,
    Pool,
    Prompt,
    PromptGroup,
    QuarantineMove,
    QuarantineReason,
)
from annotate.pools.quarantine import Holders, mark, note, reason_of
from annotate.pools.rules import ALONE, Prepared, PromptDraft, draw_split, group_key, prepare

# The number of a lock of PostgreSQL: see hold_split_map.
ADDING_PROMPTS: Final = 0x70_72_6F_6D_70_74


class NameTaken(Refusal):
    message = gettext_lazy("There is already a pool of this name.")


class DuplicatePrompt(Refusal):
    """The prompt is there already: `prompt`."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(prompt)
        self.prompt = prompt

    def __str__(self) -> str:
        return gettext("This is prompt %(id)d of the pool “%(pool)s”.") % {
            "id": self.prompt.id,
            "pool": self.prompt.pool.name,
        }


class OtherSide(Refusal):
    """The prompt was exported on one side of the split, and its group is on the other here."""

    def __init__(self, group: str, wanted: str, side: str) -> None:
        super().__init__(group, wanted, side)
        self.group, self.wanted, self.side = group, wanted, side

    def __str__(self) -> str:
        return gettext(
            "The file has this prompt on the side “%(wanted)s” of the split, and its group “%(group)s” is on the side "
            "“%(side)s” here. A group never changes sides: leave the prompt out, or, if no model has learned from that "
            "file, import it without its fields split and group."
        ) % {"group": self.group[:100], "wanted": self.wanted, "side": self.side}


def create_pool(*, name: str, description: str = "", now: datetime) -> Pool:
    """Raises NameTaken."""
    try:
        with transaction.atomic():
            return Pool.objects.create(name=name, description=description, created_at=now)
    except IntegrityError as taken:
        raise NameTaken from taken


def add_prompt(
    *, pool: Pool, draft: PromptDraft, now: datetime, parent: Prompt | None = None, author: User | None = None
) -> Prompt:
    """Put a prompt into the pool, in the group and so on the side of the split where it belongs.

    `parent` is the prompt it was edited from, `author` the person here who wrote it. If an equal text is in use on the
    other side of the split, the prompt is added in quarantine. Raises BadPrompt, or DuplicatePrompt with the equal
    prompt of this pool.
    """
    (added,) = add_prompts(pool=pool, prompts=[prepare(draft)], now=now, parent=parent, author=author)
    if not added.is_new:
        raise DuplicatePrompt(added.prompt)
    return added.prompt


@dataclass(frozen=True)
class Added:
    """The prompt that was made, in quarantine or not, or the equal one that was in the pool."""

    prompt: Prompt
    is_new: bool

    @property
    def is_quarantined(self) -> bool:
        """Was it put into quarantine now?"""
        return self.is_new and self.prompt.quarantined_at is not None


def add_prompts(
    *,
    pool: Pool,
    prompts: Sequence[Prepared],
    now: datetime,
    parent: Prompt | None = None,
    author: User | None = None,
) -> list[Added]:
    """Put many prompts into the pool at the cost of few queries. The result follows the order of `prompts`.

    A prompt's group is that of its parent, else of its customer or writer, else of its instruction, else of an equal
    prompt. If one of its texts is in use on the other side of the split, the prompt is added in quarantine.
    """
    with transaction.atomic():
        hold_split_map()
        return _add(pool, prompts, now, parent, author)


def hold_split_map() -> None:
    """Wait until nobody else adds prompts or decides about quarantine, and keep them out until the transaction ends.

    A unique index keeps two people from adding one prompt to one pool, but not from adding it to two pools on two sides
    of the split. Take this lock after all row locks: everybody else does.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADDING_PROMPTS])


def hold_pools_of(prompts: Collection[int]) -> None:
    """Until the transaction ends, let nobody else decide about quarantine in the pools of these prompts or make tasks
    there.

    Take this lock before all others. Adding prompts and labelers' work do not wait for it.
    """
    pools = Pool.objects.filter(prompts__in=prompts).values("id")
    list(Pool.objects.filter(id__in=pools).order_by("id").select_for_update(no_key=True).values_list("id"))


def keep_quarantine(pool_id: int) -> None:
    """Wait for decisions about quarantine in this pool, and keep others out until the transaction ends.

    Several can hold it together. Take this lock before all others, as `hold_pools_of`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pools_pool WHERE id = %s FOR SHARE", [pool_id])


def other_side(*, pool: Pool, prompts: Sequence[Prepared]) -> list[str]:
    """Why a prompt that says its side of the split cannot be on it, or "", in the order of `prompts`.

    Call it in the transaction that adds them: nobody else adds any until it ends.
    """
    if not any(prompt.draft.split for prompt in prompts):
        return [""] * len(prompts)
    hold_split_map()
    here, holders = _in_pool(pool, prompts), Holders.of({prompt.content_hash for prompt in prompts})
    keys = [group_key(prompt, author_id=None) for prompt in prompts]
    sides = dict(PromptGroup.objects.filter(key__in=keys).values_list("key", "split"))
    met = set(here)
    refusals: list[str] = []
    for prompt, key in zip(prompts, keys, strict=True):
        wanted, refusal = prompt.draft.split, ""
        # A duplicate is not added, so it gives no group a side.
        if wanted and prompt.content_hash not in met:
            holder = holders.of_text(prompt.content_hash) if key.startswith(ALONE) else None
            side = holder.group.split if holder else sides.setdefault(key, wanted)
            if side != wanted:
                refusal = str(OtherSide(holder.group.key if holder else key, wanted, side))
        if not refusal:
            met.add(prompt.content_hash)
        refusals.append(refusal)
    return refusals


def _add(
    pool: Pool, prompts: Sequence[Prepared], now: datetime, parent: Prompt | None, author: User | None
) -> list[Added]:
    if parent:
        parent.refresh_from_db(fields=["quarantine_reason", "quarantine_twin"])
    here = _in_pool(pool, prompts)
    holders = Holders.of({text for prompt in prompts if prompt.content_hash not in here for text in prompt.hashes})
    # Of equal prompts the first is added, so its customer or writer is the owner.
    new: dict[str, Prepared] = {}
    for prompt in prompts:
        if prompt.content_hash not in here:
            new.setdefault(prompt.content_hash, prompt)
    keys = {text: group_key(prompt, author_id=author.id if author else None) for text, prompt in new.items()}
    unmet = {key for text, key in keys.items() if not key.startswith(ALONE) or not holders.of_text(text)}
    sides = {keys[text]: prompt.draft.split for text, prompt in new.items() if prompt.draft.split}
    groups = {} if parent else _groups(unmet, now, sides)
    added: list[Added] = []
    examples: list[ExampleText] = []
    for prompt in prompts:
        if equal := here.get(prompt.content_hash):
            added.append(Added(equal, is_new=False))
            continue
        key, holder = keys[prompt.content_hash], holders.of_text(prompt.content_hash)
        # A prompt of nobody joins the group of an equal one, which ties no two customers together. If it says its side,
        # and the other prompt came with it and is on the other side (see other_side), it keeps that side and gives way.
        joins = holder and key.startswith(ALONE) and prompt.draft.split in ("", holder.group.split)
        group = parent.group if parent else holder.group if holder and joins else groups[key]
        row = here[prompt.content_hash] = _row(pool, group, prompt, now, parent, author)
        if twins := holders.opposite(prompt.hashes, group.split):
            mark(row, reason=reason_of(row.content_hash, twins[0]), twin=twins[0], now=now)
        elif parent and parent.quarantine_reason == QuarantineReason.OTHER_SIDE:
            # What its customer wrote is in it too.
            mark(row, reason=QuarantineReason.OTHER_SIDE, twin=parent.quarantine_twin, now=now)
        else:
            holders.add(row, prompt.hashes)
        examples += [ExampleText(prompt=row, content_hash=text) for text in sorted(prompt.example_hashes)]
        added.append(Added(row, is_new=True))
    made = [each.prompt for each in added if each.is_new]
    # A twin is in use. It may be of the same batch, and then has to be stored first.
    Prompt.objects.bulk_create([prompt for prompt in made if not prompt.quarantined_at])
    Prompt.objects.bulk_create(quarantined := [prompt for prompt in made if prompt.quarantined_at])
    ExampleText.objects.bulk_create(examples)
    note(quarantined, QuarantineMove.QUARANTINE, by=None, now=now)
    return added


def _in_pool(pool: Pool, prompts: Sequence[Prepared]) -> dict[str, Prompt]:
    """By content hash, the equal prompts that the pool has."""
    equal = Prompt.objects.filter(pool=pool, content_hash__in={prompt.content_hash for prompt in prompts})
    return {row.content_hash: row for row in equal.select_related("pool").only("content_hash", "pool__name")}


def _groups(keys: set[str], now: datetime, sides: Mapping[str, str]) -> dict[str, PromptGroup]:
    """The groups of these keys. A new one draws its side of the split here, once, unless `sides` says it."""
    found = {group.key: group for group in PromptGroup.objects.filter(key__in=keys)}
    made = [
        PromptGroup(key=key, split=sides.get(key) or _side(key), created_at=now) for key in sorted(keys - found.keys())
    ]
    return found | {group.key: group for group in PromptGroup.objects.bulk_create(made)}


def _side(key: str) -> str:
    return draw_split(key, settings.SPLIT_KEY, settings.SPLIT_VALID_SHARE)


def _row(
    pool: Pool, group: PromptGroup, prompt: Prepared, now: datetime, parent: Prompt | None, author: User | None
) -> Prompt:
    draft = prompt.draft
    return Prompt(
        pool=pool,
        group=group,
        messages=prompt.messages,
        shots=prompt.shots,
        reference=draft.reference,
        kind=draft.kind,
        source=draft.source,
        source_user=draft.source_user,
        category=draft.category,
        language=draft.language,
        licence=draft.licence,
        external_id=draft.external_id,
        priority=draft.priority,
        text=prompt.text,
        content_hash=prompt.content_hash,
        parent=parent,
        author=author,
        authors=(parent.authors if parent else []) + ([author.id] if author else []),
        created_at=now,
    )


def start_import(
    *,
    pool: Pool,
    kind: str,
    file_name: str,
    data: bytes | IO[bytes],
    defaults: Mapping[str, str],
    by: User | None,
    now: datetime,
) -> ImportJob:
    """Store the file and wake a worker that puts its lines into the pool, or asks first (`drop_fields`).

    `defaults` are values for what the file does not say. Raises BadFile.
    """
    with transaction.atomic():
        job = jobs.store(pool=pool, kind=kind, file_name=file_name, data=data, defaults=defaults, by=by, now=now)
        wake(jobs.TASKS[ImportKind(job.kind)], job.id)
    return job


class AlreadyDecided(Refusal):
    message = gettext_lazy("Somebody has decided about this import already.")


def drop_fields(*, job: ImportJob) -> None:
    """Leave out the fields that the job asks about, and wake a worker that takes the lines. Raises AlreadyDecided."""
    names = [loss["name"] for loss in job.losses]
    with transaction.atomic():
        _decide(job, state=ImportState.WAITING, ignore=sorted({*job.ignore, *names}))
        wake(jobs.TASKS[ImportKind(job.kind)], job.id)


def cancel_import(*, job: ImportJob, now: datetime) -> None:
    """Take nothing of a file whose fields would be dropped, and forget it. Raises AlreadyDecided."""
    with transaction.atomic():
        _decide(job, state=ImportState.CANCELLED, finished_at=now)
        job.chunks.all().delete()


def _decide(job: ImportJob, **columns: Any) -> None:
    if not ImportJob.objects.filter(id=job.id, state=ImportState.ASKING).update(**columns):
        raise AlreadyDecided


def sweep_imports(*, now: datetime) -> int:
    """Wake workers for imports that nobody works on: never announced, or left by a dead worker. Returns how many."""
    due = list(jobs.due(now).order_by("id"))
    for job in due:
        wake(jobs.TASKS[ImportKind(job.kind)], job.id)
    return len(due)
