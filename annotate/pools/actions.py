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
from annotate.pools.rules import Prepared, PromptDraft, prepare
from annotate.pools.split_rules import ALONE, draw_split, group_key

# advisory lock of hold_split_map
ADDING_PROMPTS: Final = 0x70_72_6F_6D_70_74


class NameTaken(Refusal):
    message = gettext_lazy("A pool with this name exists. Choose another name.")


class DuplicatePrompt(Refusal):
    def __init__(self, prompt: Prompt) -> None:
        super().__init__(prompt)
        self.prompt = prompt

    def __str__(self) -> str:
        return gettext("Prompt %(id)d of the pool “%(pool)s” has the same text.") % {
            "id": self.prompt.id,
            "pool": self.prompt.pool.name,
        }


class OtherSide(Refusal):
    """It was exported on one side of the split, and its group is on the other side now."""

    def __init__(self, group: str, imported: str, side: str) -> None:
        super().__init__(group, imported, side)
        self.group, self.imported, self.side = group, imported, side

    def __str__(self) -> str:
        return gettext(
            "In the file this prompt is in the split “%(imported)s”, but here its group “%(group)s” is in the split "
            "“%(side)s”, and groups never change. Remove the prompt from the file. If no model was trained on that "
            "file, you can instead import it without the fields split and group."
        ) % {"group": self.group[:100], "imported": self.imported, "side": self.side}


def create_pool(*, name: str, description: str = "", now: datetime) -> Pool:
    """Create a pool. Raises NameTaken."""
    try:
        with transaction.atomic():
            return Pool.objects.create(name=name, description=description, created_at=now)
    except IntegrityError as taken:
        raise NameTaken from taken


def add_prompt(
    *, pool: Pool, draft: PromptDraft, now: datetime, parent: Prompt | None = None, author: User | None = None
) -> Prompt:
    """Add a prompt, in quarantine if the other side of the split uses an equal text.

    `parent`: the prompt that this one edits; `author`: the labeler who wrote it. Raises BadPrompt, DuplicatePrompt.
    """
    (added,) = add_prompts(pool=pool, prompts=[prepare(draft)], now=now, parent=parent, author=author)
    if not added.is_new:
        raise DuplicatePrompt(added.prompt)
    return added.prompt


@dataclass(frozen=True)
class Added:
    """A new prompt, or the equal one that the pool already had."""

    prompt: Prompt
    is_new: bool

    @property
    def is_quarantined(self) -> bool:
        return self.is_new and self.prompt.quarantined_at is not None


def add_prompts(
    *,
    pool: Pool,
    prompts: Sequence[Prepared],
    now: datetime,
    parent: Prompt | None = None,
    author: User | None = None,
) -> list[Added]:
    """Add prompts in the order of the result, some of them in quarantine.

    The group of a prompt is that of its parent, else of its owner, its instruction or an equal prompt.
    """
    with transaction.atomic():
        hold_split_map()
        return _add(pool, prompts, now, parent, author)


def hold_split_map() -> None:
    """Lock out others who add prompts or decide about quarantine. All code takes this lock after all row locks.

    No unique index prevents equal prompts in two pools on two sides of the split.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADDING_PROMPTS])


def hold_pools_of(prompts: Collection[int]) -> None:
    """Lock out decisions about quarantine and new tasks. Take it before all other locks. Labeling does not wait."""
    pools = Pool.objects.filter(prompts__in=prompts).values("id")
    list(Pool.objects.filter(id__in=pools).order_by("id").select_for_update(no_key=True).values_list("id"))


def keep_quarantine(pool_id: int) -> None:
    """Take a shared lock that excludes decisions about quarantine, before all other locks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pools_pool WHERE id = %s FOR SHARE", [pool_id])


def other_side(*, pool: Pool, prompts: Sequence[Prepared]) -> list[str]:
    """Return for each prompt why it cannot be on the side that it names, or "".

    Locks the split map until the prompts are added in the same transaction.
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
        imported, refusal = prompt.draft.split, ""
        # Duplicates do not determine the side of a group.
        if imported and prompt.content_hash not in met:
            holder = holders.of_text(prompt.content_hash) if key.startswith(ALONE) else None
            side = holder.group.split if holder else sides.setdefault(key, imported)
            if side != imported:
                refusal = str(OtherSide(holder.group.key if holder else key, imported, side))
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
    new: dict[str, Prepared] = {}
    for prompt in prompts:
        if prompt.content_hash not in here:
            new.setdefault(prompt.content_hash, prompt)
    keys = {text: group_key(prompt, author_id=author.id if author else None) for text, prompt in new.items()}
    missing = {key for text, key in keys.items() if not key.startswith(ALONE) or not holders.of_text(text)}
    sides = {keys[text]: prompt.draft.split for text, prompt in new.items() if prompt.draft.split}
    groups = {} if parent else _groups(missing, now, sides)
    added: list[Added] = []
    examples: list[ExampleText] = []
    for prompt in prompts:
        if equal := here.get(prompt.content_hash):
            added.append(Added(equal, is_new=False))
            continue
        key, holder = keys[prompt.content_hash], holders.of_text(prompt.content_hash)
        # A prompt without an owner joins the group of an equal one, unless it names the other side.
        joins = holder and key.startswith(ALONE) and prompt.draft.split in ("", holder.group.split)
        group = parent.group if parent else holder.group if holder and joins else groups[key]
        row = here[prompt.content_hash] = _row(pool, group, prompt, now, parent, author)
        if twins := holders.opposite(prompt.hashes, group.split):
            mark(row, reason=reason_of(row.content_hash, twins[0]), twin=twins[0], now=now)
        elif parent and parent.quarantine_reason == QuarantineReason.OTHER_SIDE:
            # An edit repeats the words of the customer.
            mark(row, reason=QuarantineReason.OTHER_SIDE, twin=parent.quarantine_twin, now=now)
        else:
            holders.add(row, prompt.hashes)
        examples += [ExampleText(prompt=row, content_hash=text) for text in sorted(prompt.example_hashes)]
        added.append(Added(row, is_new=True))
    made = [each.prompt for each in added if each.is_new]
    # Those in quarantine refer to the others.
    Prompt.objects.bulk_create([prompt for prompt in made if not prompt.quarantined_at])
    Prompt.objects.bulk_create(quarantined := [prompt for prompt in made if prompt.quarantined_at])
    ExampleText.objects.bulk_create(examples)
    note(quarantined, QuarantineMove.QUARANTINE, by=None, now=now)
    return added


def _in_pool(pool: Pool, prompts: Sequence[Prepared]) -> dict[str, Prompt]:
    equal = Prompt.objects.filter(pool=pool, content_hash__in={prompt.content_hash for prompt in prompts})
    return {row.content_hash: row for row in equal.select_related("pool").only("content_hash", "pool__name")}


def _groups(keys: set[str], now: datetime, sides: Mapping[str, str]) -> dict[str, PromptGroup]:
    groups = {group.key: group for group in PromptGroup.objects.filter(key__in=keys)}
    made = [
        PromptGroup(key=key, split=sides.get(key) or _side(key), created_at=now) for key in sorted(keys - groups.keys())
    ]
    return groups | {group.key: group for group in PromptGroup.objects.bulk_create(made)}


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
    """Store the file and wake a worker. `defaults`: values that the file lacks. Raises BadFile."""
    with transaction.atomic():
        job = jobs.store(pool=pool, kind=kind, file_name=file_name, data=data, defaults=defaults, by=by, now=now)
        wake(jobs.TASKS[ImportKind(job.kind)], job.id)
    return job


class AlreadyDecided(Refusal):
    message = gettext_lazy("This import has been decided already. Reload the page to see the decision.")


def drop_fields(*, job: ImportJob) -> None:
    """Confirm that the import drops the fields in question. Raises AlreadyDecided."""
    names = [loss["name"] for loss in job.losses]
    with transaction.atomic():
        _decide(job, state=ImportState.WAITING, ignore=sorted({*job.ignore, *names}))
        wake(jobs.TASKS[ImportKind(job.kind)], job.id)


def cancel_import(*, job: ImportJob, now: datetime) -> None:
    """Cancel an import that waits for a decision, and delete its file. Raises AlreadyDecided."""
    with transaction.atomic():
        _decide(job, state=ImportState.CANCELLED, finished_at=now)
        job.chunks.all().delete()


def _decide(job: ImportJob, **columns: Any) -> None:
    if not ImportJob.objects.filter(id=job.id, state=ImportState.ASKING).update(**columns):
        raise AlreadyDecided


def sweep_imports(*, now: datetime) -> int:
    """Wake workers for imports whose message or worker was lost."""
    due = list(jobs.due(now).order_by("id"))
    for job in due:
        wake(jobs.TASKS[ImportKind(job.kind)], job.id)
    return len(due)
