"""In which order a campaign's slots are handed out, and the search for the next one that a labeler may take.

Every slot has a position, and the open ones stand in an index by campaign, language and position. A claim goes up that
index, from where the labeler stands (their Seat) to the first slot they may take. So its cost grows neither with the
campaign nor with how much they have answered, and orders differ in nothing but the positions.

Slots that come back get positions below 0: somebody has begun with them, so they go first.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.db import connection
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.work.models import START, Assignment, Campaign, Order, Seat
from annotate.work.moves import SLOT, Sql
from annotate.work.queries import CAMPAIGN_WITH_VERSION, HOW_IT_STANDS, stood
from annotate.work.rules import speaks

# More slots than a task may ever have, and more tasks than a database may ever have: no two layers mix.
SLOTS_A_TASK = 64
LAYER = 2**50
END = 2**63 - 1

# Where the slot `slot` of `task` (id, prompt_id, language, priority, state of its new slots) stands. Each is below
# 2^62 and above 0.
POSITION = {
    Order.DEPTH: f"task.id * {SLOTS_A_TASK} + slot",
    Order.BREADTH: f"slot * {LAYER} + task.id",
    Order.PRIORITY: f"(1000 - task.priority) * {LAYER} + task.id * {SLOTS_A_TASK} + slot",
    # By the prompt, not the task: one seed orders the pool in one way in every campaign. 44 bits of the hash.
    Order.RANDOM: (
        "('x' || left(md5(%(seed)s || ':' || COALESCE(task.prompt_id, task.id)), 11))::bit(44)::bigint"
        f" * {SLOTS_A_TASK} + slot"
    ),
}

ADD_SLOTS = """
INSERT INTO work_assignment
    (task_id, campaign_id, language, slot, position, state)
SELECT task.id, %(campaign)s, task.language, slot, {position}, task.state
FROM {tasks} AS task CROSS JOIN LATERAL generate_series({first}, {last}) AS slot
"""

# May the labeler take `slot`? Never a task they hold, answered or skipped, nor a prompt that they wrote or had a hand
# in. OFFSET 0 keeps the planner from turning the looks into joins, whose cost would grow with what they answered.
MAY_TAKE = """
    NOT EXISTS (
        SELECT FROM work_assignment mine
        WHERE mine.task_id = slot.task_id AND mine.labeler_id = %(labeler)s {mine} OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM work_skip skip WHERE skip.task_id = slot.task_id AND skip.labeler_id = %(labeler)s OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
        WHERE task.id = slot.task_id AND prompt.authors @> ARRAY[%(labeler)s::bigint] OFFSET 0)
"""
ELIGIBLE = MAY_TAKE.format(mine="")
# Now or later: a task that they hold comes back with all its slots when they give it back.
EVER_ELIGIBLE = MAY_TAKE.format(mine="AND NOT (mine.state = 'leased' AND mine.rounds = 0)")

NEXT = f"""
SELECT {SLOT.columns} FROM work_assignment slot
WHERE slot.campaign_id = %(campaign)s AND slot.state = 'open' AND slot.language = %(language)s
    AND slot.position > %(after)s AND slot.position <= %(up_to)s
    AND {{eligible}}
ORDER BY slot.position LIMIT 1
"""

# No column is compared that another index begins with: before statistics are there, the planner would rather go through
# all of a campaign than through a labeler's few drafts.
BEGUN = f"""
SELECT {SLOT.columns} FROM work_assignment slot
WHERE slot.task_id = ANY(ARRAY(SELECT draft.task_id FROM work_draft draft WHERE draft.labeler_id = %(labeler)s))
    AND slot.campaign_id + 0 = %(campaign)s AND slot.state || '' = 'open'
    AND {ELIGIBLE}
ORDER BY slot.position LIMIT 1
"""

# In each language the first that nobody holds, and of these the first: the others stay locked until the claim ends.
FIRST = f"""
SELECT slot.id, slot.position FROM unnest(%(languages)s::text[]) AS language(name) CROSS JOIN LATERAL (
    SELECT slot.id, slot.position FROM work_assignment slot
    WHERE slot.campaign_id = %(campaign)s AND slot.state = 'open' AND slot.language = language.name
        AND slot.position > %(after)s AND slot.position <= %(up_to)s
        AND {ELIGIBLE}
    ORDER BY slot.position LIMIT 1 FOR UPDATE OF slot SKIP LOCKED
) AS slot ORDER BY slot.position LIMIT 1
"""

LOCKED = "FOR UPDATE OF slot SKIP LOCKED"
TAKE = NEXT.format(eligible=ELIGIBLE) + LOCKED
SEE = NEXT.format(eligible=ELIGIBLE)
SEE_EVER = NEXT.format(eligible=EVER_ELIGIBLE)

# The last open position of a language, below `below`; PostgreSQL finds it at the end of the index.
LAST = """
(SELECT slot.position FROM work_assignment slot
 WHERE slot.campaign_id = %(campaign)s AND slot.state = 'open' AND slot.language = language.name
    AND slot.position < {below}
 ORDER BY slot.position DESC LIMIT 1)
"""

# The campaign as the labeler stands to it, their seat, and what their next claim goes by besides: how far slots have
# come back, whether they have drafts here, whether anything is locked, and what they hold, which makes a row each.
SIT = f"""
SELECT {HOW_IT_STANDS}, seat.id, seat.cursor, seat.returned, seat.searched, seat.languages,
    (SELECT max({LAST.format(below=0)}) FROM jsonb_array_elements_text(campaign.languages) AS language(name)),
    EXISTS (
        SELECT FROM work_draft draft WHERE draft.labeler_id = %(labeler)s
        AND (SELECT task.campaign_id FROM work_task task WHERE task.id = draft.task_id) = %(campaign)s),
    pg_current_xact_id_if_assigned() IS NOT NULL,
    {SLOT.columns}
FROM {CAMPAIGN_WITH_VERSION}
LEFT JOIN work_seat seat ON seat.campaign_id = campaign.id AND seat.labeler_id = %(labeler)s
LEFT JOIN work_assignment slot ON slot.campaign_id = campaign.id AND slot.labeler_id = %(labeler)s
    AND slot.state = 'leased'
WHERE campaign.id = %(campaign)s
"""
LOCK = "SELECT searched FROM work_seat WHERE campaign_id = %(campaign)s AND labeler_id = %(labeler)s FOR UPDATE"
MOVE_ON = """
UPDATE work_seat SET cursor = %(cursor)s, returned = %(returned)s, searched = %(searched)s, languages = %(languages)s
WHERE id = %(seat)s
"""
# To the slot that a search found: where that lies ahead, the same may have been passed by there.
MOVE_TO = """
UPDATE work_seat SET cursor = greatest(%(cursor)s, found.position),
    searched = %(searched)s AND found.position <= %(cursor)s, returned = %(returned)s, languages = %(read)s
FROM found WHERE work_seat.id = %(seat)s
"""

FOUND = f"""
SELECT * FROM (
    SELECT slot.task_id FROM work_assignment slot
    WHERE slot.campaign_id = look.campaign AND slot.state = 'open' AND slot.language = look.name
        AND slot.position > {{after}} AND slot.position < {{before}}
        AND {ELIGIBLE}
    ORDER BY slot.position LIMIT %(most)s
) AS slot
"""
WAITING = """
SELECT look.campaign, count(DISTINCT found.task_id) FROM (
    SELECT language.campaign, language.name, COALESCE(seat.cursor, -1) AS cursor,
        COALESCE(seat.returned, {start}) AS returned,
        COALESCE(seat.searched AND seat.languages ? language.name, false) AS searched
    FROM unnest(%(campaigns)s::bigint[], %(languages)s::text[]) AS language(campaign, name)
    LEFT JOIN work_seat seat ON seat.campaign_id = language.campaign AND seat.labeler_id = %(labeler)s
) AS look CROSS JOIN LATERAL ({found}) AS found GROUP BY look.campaign
"""
# What came back and what lies ahead; and unless it was searched in vain, what lies behind.
WAITING_AHEAD = WAITING.format(
    start=START,
    found=" UNION ALL ".join(
        [FOUND.format(after="look.returned", before=0), FOUND.format(after="look.cursor", before=END)]
    ),
)
WAITING_BEHIND = WAITING.format(
    start=START,
    found=FOUND.format(after=f"CASE WHEN look.searched THEN look.cursor ELSE {START} END", before="look.cursor + 1"),
)


def languages_for(campaign: Campaign, labeler: User) -> list[str]:
    """The languages of the campaign's tasks that the labeler works in."""
    return [language for language in campaign.languages if speaks(language, labeler.languages)]


def lock_seat(campaign: Campaign, labeler: User) -> bool:
    """Lock the labeler's seat until the transaction ends: what their tabs do comes one after another. Returns whether
    a search behind it was in vain before."""
    for _attempt in range(2):
        with connection.cursor() as cursor:
            execute(cursor, LOCK, {"campaign": campaign.id, "labeler": labeler.id})
            if found := cursor.fetchone():
                return bool(found[0])
        _make_seat(campaign.id, labeler)
    return False


@dataclass(frozen=True)
class Sitting:
    """A labeler in a campaign: `campaign` as by queries.standing, their `seat` (None: not yet), locked as by
    `lock_seat`, and what they hold, by hand."""

    campaign: Any
    seat: Any
    held: dict[int, Assignment]


def take_seat(campaign_id: int, labeler: User) -> Sitting | None:
    """None: there is no such campaign."""
    with connection.cursor() as cursor:
        execute(cursor, SIT, {"campaign": campaign_id, "labeler": labeler.id}, first=LOCK)
        rows = cursor.fetchall()
    if not rows:
        return None
    held = {}
    for row in rows:
        campaign, (seat_id, cursor_at, returned, searched, languages, last_returned, begun, locked, *more) = stood(row)
        slot, _rest = SLOT.made_if_any(more)
        if slot:
            held[slot.hand] = slot
    if seat_id is None:
        return Sitting(campaign, None, held)
    if not locked:
        # Another tab has made it since there was none to lock.
        return take_seat(campaign_id, labeler)
    seat: Any = Seat(
        id=seat_id, cursor=cursor_at, returned=returned, searched=searched, languages=json.loads(languages)
    )
    # Where the slots that came back ended just then; have they drafts here; may nobody else know of the seat yet?
    seat.last_returned, seat.begun, seat.is_new = last_returned, begun, False
    return Sitting(campaign, seat, held)


def take_new_seat(campaign_id: int, labeler: User) -> Sitting:
    _make_seat(campaign_id, labeler)
    sitting = cast(Sitting, take_seat(campaign_id, labeler))
    sitting.seat.is_new = True
    return sitting


def _make_seat(campaign_id: int, labeler: User) -> None:
    Seat.objects.bulk_create([Seat(campaign_id=campaign_id, labeler=labeler)], ignore_conflicts=True)


def come_back(campaign: Campaign, labeler: User, seat: Any) -> Assignment | None:
    """Lock what goes before the rest: a task that the labeler has begun to write for, else one that came back. Their
    seat moves on in memory; `moved_on` stores it."""
    languages = languages_for(campaign, labeler)
    if set(languages) - set(seat.languages):
        # They read a language now that they passed by before.
        seat.cursor, seat.returned, seat.searched = -1, START, False
    seat.languages = languages
    slot = _begun(campaign, labeler) if seat.begun else None
    if slot is None and seat.last_returned is not None and seat.last_returned > seat.returned:
        slot = _first(TAKE, campaign, labeler, after=seat.returned, up_to=-1)
        # Not past what somebody locks for a moment, nor past a task that the labeler may give back.
        reached = slot.position if slot else seat.last_returned
        later = _first(SEE_EVER, campaign, labeler, after=seat.returned, up_to=reached)
        seat.returned = later.position - 1 if later else reached
    return slot


def searches(campaign: Campaign, labeler: User, seat: Any) -> list[tuple[Sql, Sql]]:
    """Where to look for a slot when nothing has come back, one after another: ahead of the seat, then behind it unless
    that was in vain before. Each with what moves the seat to the slot. Only what somebody locks is passed by."""
    ranges = [(seat.cursor, END)] if seat.searched else [(seat.cursor, END), (START, seat.cursor)]
    known = {"campaign": campaign.id, "labeler": labeler.id, "languages": seat.languages}
    stays = {"cursor": seat.cursor, "returned": seat.returned, "searched": seat.searched}
    follow = Sql(MOVE_TO, stays | {"read": Json(seat.languages), "seat": seat.id})
    return [(Sql(FIRST, known | {"after": after, "up_to": up_to}), follow) for after, up_to in ranges]


def moved_on(seat: Seat) -> Sql:
    """Stores where the seat is."""
    stays = {"cursor": seat.cursor, "returned": seat.returned, "searched": seat.searched}
    return Sql(MOVE_ON, stays | {"languages": Json(seat.languages), "seat": seat.id})


def is_exhausted(campaign: Campaign, labeler: User, seat: Any) -> bool:
    """After a search that found nothing: is there really nothing, not even a slot that somebody locks for a moment?
    Then the seat remembers it, and the next claim does not look through all of the queue again.
    """
    values = {"campaign": campaign.id, "languages": seat.languages}
    with connection.cursor() as cursor:
        # Whoever adds slots holds the campaign.
        cursor.execute("SELECT FROM work_campaign WHERE id = %s FOR SHARE SKIP LOCKED", [campaign.id])
        nobody_adds = cursor.rowcount == 1
        cursor.execute(
            f"SELECT max({LAST.format(below=END)}) FROM unnest(%(languages)s::text[]) AS language(name)",
            values,
        )
        (end,) = cursor.fetchone()
    ranges = [(START, END)]
    if seat.searched:
        came_back = seat.last_returned is not None and seat.last_returned > seat.returned
        ranges = [(seat.returned, -1)] * came_back + [(seat.cursor, END)]
    found = [_first(SEE_EVER, campaign, labeler, after=after, up_to=up_to) for after, up_to in ranges]
    later = next((slot for slot in found if slot), None)
    if later is not None and any(_first(SEE, campaign, labeler, after=after, up_to=up_to) for after, up_to in ranges):
        return False
    seat.cursor = max(seat.cursor, -1 if end is None else end)
    if later is not None:
        # The rest of a task that they hold is theirs again when they give it back.
        seat.returned, seat.cursor = min(seat.returned, later.position - 1), min(seat.cursor, later.position - 1)
    # Whoever adds slots clears what the seats remember, but cannot see one that is made in this transaction, or was
    # since they looked.
    seat.searched = (seat.searched or nobody_adds) and not seat.is_new
    stored = moved_on(seat)
    with connection.cursor() as cursor:
        execute(cursor, stored.text, stored.values)
    return True


def waiting(campaigns: Sequence[Campaign], labeler: User, most: int) -> dict[int, int]:
    """Tasks that the labeler could take, by campaign id, counted up to `most`, in at most two statements."""
    found = {campaign.id: 0 for campaign in campaigns}
    for statement in (WAITING_AHEAD, WAITING_BEHIND):
        left = [campaign for campaign in campaigns if not found[campaign.id]]
        pairs = [(campaign.id, language) for campaign in left for language in languages_for(campaign, labeler)]
        if not pairs:
            break
        values: dict[str, Any] = {
            "labeler": labeler.id,
            "campaigns": [campaign for campaign, _language in pairs],
            "languages": [language for _campaign, language in pairs],
            "most": most * max(campaign.overlap for campaign in left),
        }
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            found |= {campaign: min(tasks, most) for campaign, tasks in cursor.fetchall()}
    return found


def look_again(campaign_id: int, *, from_start: bool) -> None:
    """Slots have come where labelers may have passed already: let their next claims find them."""
    columns: dict[str, Any] = {"searched": False} | ({"cursor": -1} if from_start else {})
    Seat.objects.filter(campaign=campaign_id).update(**columns)


def look_behind(campaign_id: int, labeler: User) -> None:
    """What lies behind may be the labeler's again; the caller has locked the seat."""
    Seat.objects.filter(campaign=campaign_id, labeler=labeler).update(searched=False)


# Held until the transaction ends, after every row's lock.
HOLD_RETURNS = "SELECT pg_advisory_xact_lock(%(lock)s, (%(campaign)s %% 2147483647)::int)"
RETURNED = f"WITH held AS MATERIALIZED ({HOLD_RETURNS}) SELECT nextval('work_returned') FROM held"
RETURNS_LOCK = 314


def hold_returns(campaign_id: int) -> None:
    """Let no slot of the campaign come back until the transaction ends; those under way have."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD_RETURNS, {"lock": RETURNS_LOCK, "campaign": campaign_id})


def returned_position(campaign_id: int) -> int:
    """The place of a slot that comes back, behind all that came back before. They come one after another, as
    `hold_returns`: a seat that has seen a later place takes the earlier ones for seen."""
    with connection.cursor() as cursor:
        cursor.execute(RETURNED, {"lock": RETURNS_LOCK, "campaign": campaign_id})
        return int(cursor.fetchone()[0])


def _begun(campaign: Campaign, labeler: User) -> Assignment | None:
    values = {"campaign": campaign.id, "labeler": labeler.id}
    return next(iter(SLOT.rows(BEGUN + LOCKED, values)), None)


def _first(look: str, campaign: Campaign, labeler: User, *, after: int, up_to: int) -> Assignment | None:
    """The first slot in any of the labeler's languages, by one of the three statements. Where there are several
    languages, TAKE locks a row in each until the claim ends."""
    values = {"campaign": campaign.id, "labeler": labeler.id, "after": after, "up_to": up_to}
    found = [
        slot
        for language in languages_for(campaign, labeler)
        for slot in SLOT.rows(look, values | {"language": language})
    ]
    return min(found, key=lambda slot: slot.position, default=None)
