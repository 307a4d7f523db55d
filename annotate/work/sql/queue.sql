-- A labeler may not take a task that they hold, answered or skipped, nor a prompt that they wrote or took part in. Each
-- search repeats this condition. OFFSET 0 keeps the planner from turning the subqueries into joins, whose cost would
-- grow with the labeler's answers.

-- name: lock_seat
SELECT searched FROM work_seat WHERE campaign_id = :campaign AND labeler_id = :labeler FOR UPDATE;

-- name: enter
-- A row for each slot that the labeler holds: the campaign and eligibility (as in eligibility.sql), the seat, the last
-- position of a returned slot, whether they have drafts here, and whether this transaction has locked a row.
SELECT campaign.*, current.id,
    EXISTS (
        SELECT FROM guidelines_acknowledgement known
        WHERE known.version_id = current.id AND known.labeler_id = :labeler),
    EXISTS (SELECT FROM work_campaign_labelers named WHERE named.campaign_id = campaign.id),
    EXISTS (
        SELECT FROM work_campaign_labelers named
        WHERE named.campaign_id = campaign.id AND named.user_id = :labeler),
    NOT EXISTS (
        SELECT FROM work_campaign_qualifications needed
        WHERE needed.campaign_id = campaign.id AND NOT EXISTS (
            SELECT FROM accounts_user_qualifications held
            WHERE held.user_id = :labeler AND held.qualification_id = needed.qualification_id)),
    seat.id, seat.cursor, seat.returned, seat.searched, seat.languages,
    (SELECT max((
        SELECT returned.position FROM work_assignment returned
        WHERE returned.campaign_id = :campaign AND returned.state = 'open' AND returned.language = language.name
            AND returned.position < 0
        ORDER BY returned.position DESC LIMIT 1
    )) FROM jsonb_array_elements_text(campaign.languages) AS language(name)),
    EXISTS (
        SELECT FROM work_draft draft WHERE draft.labeler_id = :labeler
        AND (SELECT task.campaign_id FROM work_task task WHERE task.id = draft.task_id) = :campaign),
    pg_current_xact_id_if_assigned() IS NOT NULL,
    slot.*
FROM work_campaign campaign LEFT JOIN LATERAL (
    SELECT version.id FROM guidelines_guidelineversion version
    WHERE version.guideline_id = campaign.guideline_id AND version.published_at IS NOT NULL
    ORDER BY version.number DESC LIMIT 1
) AS current ON true
LEFT JOIN work_seat seat ON seat.campaign_id = campaign.id AND seat.labeler_id = :labeler
LEFT JOIN work_assignment slot ON slot.campaign_id = campaign.id AND slot.labeler_id = :labeler
    AND slot.state = 'leased'
WHERE campaign.id = :campaign;

-- name: take_slot_with_draft
-- The expressions on campaign_id and state keep the planner off their indexes: without statistics it would read all
-- slots of a campaign rather than the labeler's few drafts.
SELECT slot.* FROM work_assignment slot
WHERE slot.task_id = ANY(ARRAY(SELECT draft.task_id FROM work_draft draft WHERE draft.labeler_id = :labeler))
    AND slot.campaign_id + 0 = :campaign AND slot.state || '' = 'open'
    AND NOT EXISTS (
        SELECT FROM work_assignment mine
        WHERE mine.task_id = slot.task_id AND mine.labeler_id = :labeler OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM work_skip skip WHERE skip.task_id = slot.task_id AND skip.labeler_id = :labeler OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
        WHERE task.id = slot.task_id AND prompt.authors @> ARRAY[:labeler::bigint] OFFSET 0)
ORDER BY slot.position LIMIT 1 FOR UPDATE OF slot SKIP LOCKED;

-- name: take_next_slot
-- Locks the first unlocked slot of each language, and returns the first of these.
SELECT slot.* FROM unnest(:languages::text[]) AS language(name) CROSS JOIN LATERAL (
    SELECT slot.* FROM work_assignment slot
    WHERE slot.campaign_id = :campaign AND slot.state = 'open' AND slot.language = language.name
        AND slot.position > CAST(:after AS bigint) AND slot.position <= CAST(:up_to AS bigint)
        AND NOT EXISTS (
            SELECT FROM work_assignment mine
            WHERE mine.task_id = slot.task_id AND mine.labeler_id = :labeler OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM work_skip skip WHERE skip.task_id = slot.task_id AND skip.labeler_id = :labeler OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
            WHERE task.id = slot.task_id AND prompt.authors @> ARRAY[:labeler::bigint] OFFSET 0)
    ORDER BY slot.position LIMIT 1 FOR UPDATE OF slot SKIP LOCKED
) AS slot ORDER BY slot.position LIMIT 1;

-- name: next_position
-- As take_next_slot, but takes no lock and does not skip locked slots. :or_later includes other slots of a held task:
-- they are open to the labeler after they give it back.
SELECT min(slot.position) FROM unnest(:languages::text[]) AS language(name) CROSS JOIN LATERAL (
    SELECT slot.position FROM work_assignment slot
    WHERE slot.campaign_id = :campaign AND slot.state = 'open' AND slot.language = language.name
        AND slot.position > CAST(:after AS bigint) AND slot.position <= CAST(:up_to AS bigint)
        AND NOT EXISTS (
            SELECT FROM work_assignment mine
            WHERE mine.task_id = slot.task_id AND mine.labeler_id = :labeler
                AND NOT (:or_later AND mine.state = 'leased' AND mine.rounds = 0) OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM work_skip skip WHERE skip.task_id = slot.task_id AND skip.labeler_id = :labeler OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
            WHERE task.id = slot.task_id AND prompt.authors @> ARRAY[:labeler::bigint] OFFSET 0)
    ORDER BY slot.position LIMIT 1
) AS slot;

-- name: last_position
-- PostgreSQL finds it at the end of the index.
SELECT max((
    SELECT slot.position FROM work_assignment slot
    WHERE slot.campaign_id = :campaign AND slot.state = 'open' AND slot.language = language.name
    ORDER BY slot.position DESC LIMIT 1
)) FROM unnest(:languages::text[]) AS language(name);

-- name: lock_against_new_slots
SELECT FROM work_campaign WHERE id = :campaign FOR SHARE SKIP LOCKED;

-- name: store_cursor
UPDATE work_seat SET cursor = :cursor, returned = :returned, searched = :searched, languages = :passed_languages
WHERE id = :seat;

-- name: store_cursor_at_found
-- A search ahead of the cursor may have skipped locked slots, which are now behind it: search there again.
UPDATE work_seat SET cursor = greatest(:cursor, found.position),
    searched = :searched AND found.position <= :cursor, returned = :returned, languages = :passed_languages
FROM found WHERE work_seat.id = :seat;

-- name: waiting
-- Counts returned slots and slots ahead of the cursor; with :behind, slots behind it unless a search has found none.
SELECT look.campaign, count(DISTINCT found.task_id) FROM (
    SELECT language.campaign, language.name, COALESCE(seat.cursor, -1) AS cursor,
        COALESCE(seat.returned, CAST(:start AS bigint)) AS returned,
        COALESCE(seat.searched AND seat.languages ? language.name, false) AS searched
    FROM unnest(:campaigns::bigint[], :languages::text[]) AS language(campaign, name)
    LEFT JOIN work_seat seat ON seat.campaign_id = language.campaign AND seat.labeler_id = :labeler
) AS look CROSS JOIN LATERAL (
    SELECT look.returned AS after, 0 AS before WHERE NOT :behind
    UNION ALL SELECT look.cursor, :end WHERE NOT :behind
    UNION ALL SELECT CAST(:start AS bigint), look.cursor + 1 WHERE :behind AND NOT look.searched
) AS part CROSS JOIN LATERAL (
    SELECT slot.task_id FROM work_assignment slot
    WHERE slot.campaign_id = look.campaign AND slot.state = 'open' AND slot.language = look.name
        AND slot.position > part.after AND slot.position < part.before
        AND NOT EXISTS (
            SELECT FROM work_assignment mine
            WHERE mine.task_id = slot.task_id AND mine.labeler_id = :labeler OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM work_skip skip WHERE skip.task_id = slot.task_id AND skip.labeler_id = :labeler OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
            WHERE task.id = slot.task_id AND prompt.authors @> ARRAY[:labeler::bigint] OFFSET 0)
    ORDER BY slot.position LIMIT :limit
) AS found GROUP BY look.campaign;

-- name: hold_returns
SELECT pg_advisory_xact_lock(:lock, (:campaign % 2147483647)::int);

-- name: returned_position
WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(:lock, (:campaign % 2147483647)::int))
SELECT nextval('work_returned') FROM held;
