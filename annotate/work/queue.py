"""Find the next slot for a labeler.

A claim searches the index of open slots by campaign, language and position, from the cursor in the labeler's Seat: its
cost grows neither with the campaign nor with the labeler's answers. Returned slots have positions below 0 and go first.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import connection
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.lib.sql import Values, load_statements
from annotate.work.eligibility import Eligibility
from annotate.work.models import START, Assignment, Campaign, Hand, Seat
from annotate.work.moves import Sql
from annotate.work.rules import speaks
from annotate.work.shapes import CAMPAIGN, SLOT

SQL = load_statements(Path(__file__).parent / "sql/queue.sql", campaign=CAMPAIGN, slot=SLOT)
END = 2**63 - 1
RETURNS_LOCK = 314


@dataclass
class Cursor:
    """A seat in memory."""

    seat_id: int
    position: int
    returned: int
    searched: bool
    languages: list[str]
    # The position of the last returned slot when the claim began.
    last_returned: int | None
    has_drafts: bool
    # Created in this transaction, invisible to others.
    is_new: bool = False

    @property
    def values(self) -> Values:
        return {
            "seat": self.seat_id,
            "cursor": self.position,
            "returned": self.returned,
            "searched": self.searched,
            "passed_languages": Json(self.languages),
        }

    @property
    def some_returned(self) -> bool:
        return self.last_returned is not None and self.last_returned > self.returned


@dataclass(frozen=True)
class Held:
    active: Assignment | None = None
    prefetched: Assignment | None = None


@dataclass(frozen=True)
class Entry:
    """What a claim needs. `cursor` is None if the labeler has no seat."""

    eligibility: Eligibility
    cursor: Cursor | None
    held: Held


def languages_for(campaign: Campaign, labeler: User) -> list[str]:
    return [language for language in campaign.languages if speaks(language, labeler.languages)]


def lock_seat(campaign: Campaign, labeler: User) -> bool:
    """Return the seat's `searched`."""
    for _attempt in range(2):
        with connection.cursor() as cursor:
            execute(cursor, SQL["lock_seat"], {"campaign": campaign.id, "labeler": labeler.id})
            if row := cursor.fetchone():
                return bool(row[0])
        _make_seat(campaign.id, labeler)
    return False


def enter(campaign_id: int, labeler: User) -> Entry | None:
    """Lock the seat and load an Entry in one round trip. None: the campaign does not exist."""
    with connection.cursor() as cursor:
        execute(cursor, SQL["enter"], {"campaign": campaign_id, "labeler": labeler.id}, first=SQL["lock_seat"])
        rows = cursor.fetchall()
    if not rows:
        return None
    campaign, rest = CAMPAIGN.made(rows[0])
    eligibility = Eligibility(campaign, *rest[:5])
    seat_id, position, returned, searched, languages, last_returned, has_drafts, locked = rest[5:13]
    held = held_by_hand([slot for row in rows if (slot := SLOT.made_if_any(row[-len(SLOT) :])[0])])
    if seat_id is None:
        return Entry(eligibility, None, held)
    if not locked:
        # Another tab created the seat after the attempt to lock it.
        return enter(campaign_id, labeler)
    seat = Cursor(seat_id, position, returned, searched, json.loads(languages), last_returned, has_drafts)
    return Entry(eligibility, seat, held)


def enter_new_seat(campaign_id: int, labeler: User) -> tuple[Entry, Cursor]:
    _make_seat(campaign_id, labeler)
    entry = enter(campaign_id, labeler)
    if entry is None or entry.cursor is None:
        raise RuntimeError("the new seat is gone")
    entry.cursor.is_new = True
    return entry, entry.cursor


def held_by_hand(slots: Sequence[Assignment]) -> Held:
    by_hand = {slot.hand: slot for slot in slots}
    return Held(active=by_hand.get(Hand.ACTIVE), prefetched=by_hand.get(Hand.PREFETCHED))


def _make_seat(campaign_id: int, labeler: User) -> None:
    Seat.objects.bulk_create([Seat(campaign_id=campaign_id, labeler=labeler)], ignore_conflicts=True)


def take_preferred(campaign: Campaign, labeler: User, cursor: Cursor) -> Assignment | None:
    """Lock a slot with a draft of the labeler, else a returned slot."""
    languages = languages_for(campaign, labeler)
    if set(languages) - set(cursor.languages):
        # The search has passed slots of a new language.
        cursor.position, cursor.returned, cursor.searched = -1, START, False
    cursor.languages = languages
    slot = None
    if cursor.has_drafts:
        slot = next(iter(SLOT.rows(SQL["take_slot_with_draft"], _search_values(campaign, labeler, cursor))), None)
    if slot is None and cursor.some_returned and cursor.last_returned is not None:
        values = _search_values(campaign, labeler, cursor, after=cursor.returned, up_to=-1)
        slot = next(iter(SLOT.rows(SQL["take_next_slot"], values)), None)
        # Not past a locked slot, nor past a task that the labeler may give back.
        reached = slot.position if slot else cursor.last_returned
        later = _next_position(campaign, labeler, cursor, after=cursor.returned, up_to=reached, or_later=True)
        cursor.returned = reached if later is None else later - 1
    return slot


def searches(campaign: Campaign, labeler: User, cursor: Cursor) -> list[Sql]:
    """Ahead of the cursor, then behind it if slots may be there."""
    ranges = [(cursor.position, END)] if cursor.searched else [(cursor.position, END), (START, cursor.position)]
    return [
        Sql(SQL["take_next_slot"], _search_values(campaign, labeler, cursor, after=after, up_to=up_to))
        for after, up_to in ranges
    ]


def store(cursor: Cursor) -> Sql:
    return Sql(SQL["store_cursor"], cursor.values)


def store_at_found(cursor: Cursor) -> Sql:
    return Sql(SQL["store_cursor_at_found"], cursor.values)


def is_exhausted(campaign: Campaign, labeler: User, cursor: Cursor) -> bool:
    """Whether nothing is left, after searches without a result. False: others have locked slots.

    Stores True in the seat: the next claim does not search the whole queue.
    """
    with connection.cursor() as database:
        database.execute(SQL["lock_against_new_slots"], {"campaign": campaign.id})
        nobody_adds = database.rowcount == 1
        database.execute(SQL["last_position"], {"campaign": campaign.id, "languages": cursor.languages})
        (end,) = database.fetchone()
    ranges = [(START, END)]
    if cursor.searched:
        ranges = [(cursor.returned, -1)] * cursor.some_returned + [(cursor.position, END)]
    found = [
        _next_position(campaign, labeler, cursor, after=after, up_to=up_to, or_later=True) for after, up_to in ranges
    ]
    later = next((position for position in found if position is not None), None)
    if later is not None and any(
        _next_position(campaign, labeler, cursor, after=after, up_to=up_to, or_later=False) is not None
        for after, up_to in ranges
    ):
        return False
    cursor.position = max(cursor.position, -1 if end is None else end)
    if later is not None:
        # Slots of a held task are open to the labeler after they give it back.
        cursor.returned, cursor.position = min(cursor.returned, later - 1), min(cursor.position, later - 1)
    # Code that adds slots clears `searched`, but cannot see a new seat.
    cursor.searched = (cursor.searched or nobody_adds) and not cursor.is_new
    stored = store(cursor)
    with connection.cursor() as database:
        execute(database, stored.text, stored.values)
    return True


def waiting(campaigns: Sequence[Campaign], labeler: User, limit: int) -> dict[int, int]:
    """Numbers of tasks that the labeler could take, up to `limit`, by campaign id."""
    counts = {campaign.id: 0 for campaign in campaigns}
    for behind in (False, True):
        left = [campaign for campaign in campaigns if not counts[campaign.id]]
        pairs = [(campaign.id, language) for campaign in left for language in languages_for(campaign, labeler)]
        if not pairs:
            break
        values: Values = {
            "labeler": labeler.id,
            "campaigns": [campaign for campaign, _language in pairs],
            "languages": [language for _campaign, language in pairs],
            "limit": limit * max(campaign.overlap for campaign in left),
            "behind": behind,
            "start": START,
            "end": END,
        }
        with connection.cursor() as cursor:
            cursor.execute(SQL["waiting"], values)
            counts |= {campaign: min(tasks, limit) for campaign, tasks in cursor.fetchall()}
    return counts


def look_again(campaign_id: int, *, from_start: bool) -> None:
    """Let claims find new slots that labelers may have passed."""
    seats = Seat.objects.filter(campaign=campaign_id)
    if from_start:
        seats.update(searched=False, cursor=-1)
    else:
        seats.update(searched=False)


def look_behind(campaign_id: int, labeler: User) -> None:
    """The caller has locked the seat."""
    Seat.objects.filter(campaign=campaign_id, labeler=labeler).update(searched=False)


def hold_returns(campaign_id: int) -> None:
    """Block returns of slots until the transaction ends. Take this lock after all row locks."""
    with connection.cursor() as cursor:
        cursor.execute(SQL["hold_returns"], {"lock": RETURNS_LOCK, "campaign": campaign_id})


def returned_position(campaign_id: int) -> int:
    """A position after all returned slots. Takes the lock of `hold_returns`, so slots return in order of positions."""
    with connection.cursor() as cursor:
        cursor.execute(SQL["returned_position"], {"lock": RETURNS_LOCK, "campaign": campaign_id})
        return int(cursor.fetchone()[0])


def _search_values(
    campaign: Campaign, labeler: User, cursor: Cursor, *, after: int = START, up_to: int = END
) -> Values:
    return {
        "campaign": campaign.id,
        "labeler": labeler.id,
        "languages": cursor.languages,
        "after": after,
        "up_to": up_to,
    }


def _next_position(
    campaign: Campaign, labeler: User, cursor: Cursor, *, after: int, up_to: int, or_later: bool
) -> int | None:
    values = _search_values(campaign, labeler, cursor, after=after, up_to=up_to) | {"or_later": or_later}
    with connection.cursor() as database:
        execute(database, SQL["next_position"], values)
        position: int | None = database.fetchone()[0]
    return position
