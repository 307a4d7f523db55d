"""Put prompts into quarantine and release them.

Quarantine stops the open slots of a prompt, its sampling and its exports; labelers finish the tasks that they hold. A
release is refused while both sides of the split would share a text or an owner.

Lock order: pools, locks of the workflows, campaigns, prompts, slots and tasks (see `hold_slots`), the split map.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.accounts.models import User
from annotate.lib.refusals import Refusal
from annotate.pools.actions import hold_pools_of, hold_split_map
from annotate.pools.models import Prompt, QuarantineMove, QuarantineReason
from annotate.pools.quarantine import MARKED, Case, in_the_way, is_on_wrong_side, mark, note, reason_of, unmark
from annotate.samples import runs
from annotate.work import queue
from annotate.work.filling import add_tasks
from annotate.work.models import Campaign, Task
from annotate.work.moves import move
from annotate.work.slots import hold_campaign, hold_slots, stop_slots
from annotate.work.states import CampaignState, Move, State

# Workflow.readmit.
Readmit = Callable[[Campaign, list[int]], QuerySet[Prompt] | None]


class NotInQuarantine(Refusal):
    message = gettext_lazy("This prompt is no longer in quarantine.")


class WrongSide(Refusal):
    message = gettext_lazy(
        "The other prompts of this customer or writer are on the other side of the split, and their side never changes."
        " Keep this prompt in quarantine."
    )


class StillEqual(Refusal):
    def __init__(self, prompts: Sequence[Prompt]) -> None:
        super().__init__(prompts)
        self.prompts = prompts

    def __str__(self) -> str:
        return _(
            "A prompt with an equal text is in use on the other side of the split: %(prompts)s. Put that one into"
            " quarantine instead, or keep this one in quarantine."
        ) % {"prompts": ", ".join(str(prompt.id) for prompt in self.prompts)}


def quarantine(*, cases: Collection[Case], by: User | None, now: datetime) -> int:
    """Put the prompts of these cases into quarantine. Returns their number.

    Skips a prompt that is in quarantine already, or whose twin is: that conflict is gone, unless the prompt's group is
    on the other side.
    """
    by_id = {case.prompt_id: case for case in cases}
    with transaction.atomic():
        hold_pools_of(by_id)
        _hold_campaigns(by_id)
        rows = _hold_prompts({*by_id, *(case.twin_id for case in cases if case.twin_id is not None)})
        put: list[Prompt] = []
        # One by one: of two twins, one stays in use.
        for prompt_id, case in sorted(by_id.items()):
            prompt, twin = rows.get(prompt_id), rows.get(case.twin_id or 0)
            if twin and twin.quarantined_at:
                twin = None
            if prompt is None or prompt.quarantined_at:
                continue
            if twin or (case.reason == QuarantineReason.OTHER_SIDE and is_on_wrong_side(prompt)):
                mark(prompt, reason=case.reason, twin=twin, now=now)
                put.append(prompt)
        _put_away(put, by, now)
        hold_split_map()
    return len(put)


def keep(*, prompt_id: int, by: User, now: datetime) -> Prompt:
    """Leave a prompt in quarantine. Raises NotInQuarantine."""
    with transaction.atomic():
        prompt = _quarantined(_hold_prompts([prompt_id]), prompt_id)
        prompt.quarantine_decided_by, prompt.quarantine_decided_at = by, now
        prompt.save(update_fields=MARKED)
        note([prompt], QuarantineMove.KEEP, by=by, now=now)
    return prompt


def release(*, prompt_id: int, by: User | None, now: datetime, readmit: Readmit, instead: bool = False) -> Prompt:
    """Take a prompt out of quarantine. `instead`: its equals on the other side go into quarantine.

    Raises NotInQuarantine, WrongSide or StillEqual.
    """
    with transaction.atomic():
        requested = Prompt.objects.defer("search").select_related("group").get(id=prompt_id)
        others = [other.id for other in in_the_way([requested])[requested.id]] if instead else []
        hold_pools_of([prompt_id, *others])
        ready = {
            campaign.id: readmit(campaign, [prompt_id])
            for campaign in Campaign.objects.filter(pool=requested.pool_id).order_by("id")
            if campaign.state in (CampaignState.OPEN, CampaignState.PAUSED)
        }
        campaigns = _hold_campaigns([prompt_id, *others])
        rows = _hold_prompts([prompt_id, *others])
        prompt = _quarantined(rows, prompt_id)
        if is_on_wrong_side(prompt):
            raise WrongSide
        note([prompt], QuarantineMove.RELEASE, by=by, now=now)
        unmark(prompt)
        prompt.save(update_fields=MARKED)
        replaced = [row for other, row in rows.items() if other != prompt_id and not row.quarantined_at]
        for row in replaced:
            mark(row, reason=reason_of(row.content_hash, prompt), twin=prompt, now=now)
        runs.resume_prompts(prompts=[prompt_id])
        for campaign in campaigns:
            if (prompts := ready.get(campaign.id)) is not None:
                add_tasks(campaign=campaign, prompts=prompts, now=now)
        # After add_tasks, which locks seats: a claim that holds a seat may wait for a task of a replaced prompt.
        _put_away(replaced, by, now)
        _hand_out_again(prompt, by, now)
        hold_split_map()
        if in_use := in_the_way([prompt])[prompt.id]:
            raise StillEqual(in_use)
    return prompt


def _hold_campaigns(prompts: Iterable[int]) -> list[Campaign]:
    """Includes campaigns that may be adding tasks."""
    over = Campaign.objects.filter(pool__prompts__in=list(prompts)).values_list("id", flat=True)
    return [hold_campaign(campaign) for campaign in sorted(set(over))]


def _hold_prompts(ids: Collection[int]) -> dict[int, Prompt]:
    rows = Prompt.objects.filter(id__in=ids).order_by("id").select_for_update(no_key=True, of=("self",))
    return {row.id: row for row in rows.select_related("group").defer("search", "messages", "shots", "text")}


def _quarantined(rows: dict[int, Prompt], prompt_id: int) -> Prompt:
    prompt = rows.get(prompt_id)
    if prompt is None or prompt.quarantined_at is None:
        raise NotInQuarantine
    return prompt


def _put_away(prompts: Sequence[Prompt], by: User | None, now: datetime) -> None:
    if not prompts:
        return
    Prompt.objects.bulk_update(prompts, MARKED)
    note(prompts, QuarantineMove.QUARANTINE, by=by, now=now)
    ids = [prompt.id for prompt in prompts]
    runs.withdraw_prompts(prompts=ids, now=now)
    tasks = list(Task.objects.filter(prompt__in=ids, held_at=None, retired_at=None).values_list("id", flat=True))
    hold_slots(tasks)
    # A concurrent return of a slot waits here, then finds the task held.
    list(Task.objects.filter(id__in=tasks).order_by("id").select_for_update(no_key=True).values_list("id"))
    Task.objects.filter(id__in=tasks).update(held_at=now)
    stop_slots(tasks, now=now)


def _hand_out_again(prompt: Prompt, by: User | None, now: datetime) -> None:
    """Put the held slots at the front of the queue. A task with too many skips stays stopped."""
    held = Task.objects.filter(prompt=prompt, held_at__isnull=False).order_by("id")
    for task in held.select_for_update(no_key=True):
        Task.objects.filter(id=task.id).update(held_at=None)
        if task.stopped_at:
            continue
        for slot in task.assignments.select_for_update().filter(state=State.STOPPED).order_by("position"):
            position = queue.returned_position(task.campaign_id)
            move(slot=slot, steps=[Move.RESTART], actor=by, now=now, position=position)
