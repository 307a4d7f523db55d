-- A position is above 0 and below 2^62. A task has fewer than 64 slots, and a database fewer than 2^50
-- (1125899906842624) tasks, so layers do not overlap. The random order takes 44 bits of a hash of the prompt, not the
-- task: one seed gives a pool the same order in every campaign.

-- name: add_tasks
-- {prompts} is a query set's SQL: id, language and priority of the prompts.
WITH chosen AS MATERIALIZED ({prompts}), made AS (
    INSERT INTO work_task (campaign_id, prompt_id, created_at)
    SELECT :campaign, id, :now FROM chosen WHERE NOT EXISTS (
        SELECT FROM pools_prompt prompt WHERE prompt.id = chosen.id AND prompt.quarantined_at IS NOT NULL)
    ORDER BY id ON CONFLICT DO NOTHING RETURNING id, prompt_id
), slots AS (
    INSERT INTO work_assignment (task_id, campaign_id, language, slot, position, state)
    SELECT made.id, :campaign, chosen.language, slot,
        CASE :order
            WHEN 'depth' THEN made.id * 64 + slot
            WHEN 'breadth' THEN slot * 1125899906842624 + made.id
            WHEN 'priority' THEN (1000 - chosen.priority) * 1125899906842624 + made.id * 64 + slot
            WHEN 'random' THEN ('x' || left(md5(:seed || ':' || made.prompt_id), 11))::bit(44)::bigint * 64 + slot
        END, 'open'
    FROM made JOIN chosen ON chosen.id = made.prompt_id CROSS JOIN LATERAL generate_series(1, :overlap) AS slot
)
SELECT made.id, made.prompt_id, chosen.language FROM made JOIN chosen ON chosen.id = made.prompt_id ORDER BY made.id;

-- name: add_missing_slots
INSERT INTO work_assignment (task_id, campaign_id, language, slot, position, state)
SELECT task.id, :campaign, COALESCE(slots.language, ''), slot,
    CASE :order
        WHEN 'depth' THEN task.id * 64 + slot
        WHEN 'breadth' THEN slot * 1125899906842624 + task.id
        WHEN 'priority' THEN (1000 - COALESCE(prompt.priority, 0)) * 1125899906842624 + task.id * 64 + slot
        WHEN 'random' THEN
            ('x' || left(md5(:seed || ':' || COALESCE(task.prompt_id, task.id)), 11))::bit(44)::bigint * 64 + slot
    END,
    CASE WHEN task.stopped_at IS NULL AND task.held_at IS NULL THEN 'open' ELSE 'stopped' END
FROM work_task task
LEFT JOIN pools_prompt prompt ON prompt.id = task.prompt_id
JOIN LATERAL (
    SELECT COALESCE(max(slot), 0) AS last, max(language) AS language,
        count(*) FILTER (WHERE state <> 'cancelled') AS required
    FROM work_assignment WHERE task_id = task.id
) AS slots ON slots.required < :overlap
CROSS JOIN LATERAL generate_series(slots.last + 1, slots.last + :overlap - slots.required) AS slot
WHERE task.campaign_id = :campaign AND task.id > :after AND task.id <= :up_to
    AND task.retired_at IS NULL AND task.dropped_at IS NULL;

-- name: has_missing_slots
SELECT EXISTS (
    SELECT FROM work_task task
    WHERE task.campaign_id = :campaign AND task.id > :after AND task.id <= :up_to
        AND task.retired_at IS NULL AND task.dropped_at IS NULL
        AND :overlap > (SELECT count(*) FROM work_assignment WHERE task_id = task.id AND state <> 'cancelled'));

-- name: surplus_slots
-- Of the slots that nobody holds, those that are last in the queue.
SELECT id FROM (
    SELECT slot.id, slot.state, count(*) OVER (PARTITION BY slot.task_id) AS required, row_number() OVER (
        PARTITION BY slot.task_id, slot.state IN ('open', 'stopped') ORDER BY slot.position DESC) AS place
    FROM work_assignment slot JOIN work_task task ON task.id = slot.task_id
    WHERE task.campaign_id = :campaign AND task.id > :after AND task.id <= :up_to
        AND slot.state <> 'cancelled'
) AS slot WHERE slot.state IN ('open', 'stopped') AND slot.place <= slot.required - :overlap;

-- name: lock_untouched_tasks
-- Returns the tasks that nobody has ever claimed, with their slots locked. Skips slots that a concurrent claim has
-- locked. Returned slots have positions below 0.
WITH free AS MATERIALIZED (
    SELECT task_id FROM work_assignment
    WHERE task_id = ANY(:tasks) AND state = 'open' AND position >= 0 FOR UPDATE SKIP LOCKED
)
SELECT free.task_id FROM free GROUP BY free.task_id
HAVING count(*) = (
        SELECT count(*) FROM work_assignment slot WHERE slot.task_id = free.task_id AND slot.state <> 'cancelled')
    AND NOT EXISTS (
        SELECT FROM work_assignment slot JOIN work_event event ON event.assignment_id = slot.id
        WHERE slot.task_id = free.task_id AND event.move = 'claim')
    AND NOT EXISTS (SELECT FROM work_draft draft WHERE draft.task_id = free.task_id);

-- name: reposition
-- Returned slots keep their positions.
UPDATE work_assignment SET position = (1000 - task.priority) * 1125899906842624 + task.id * 64 + slot
FROM (
    SELECT task.id, prompt.priority FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
    WHERE prompt.id = ANY(:prompts) AND task.campaign_id = ANY(:campaigns)
) AS task WHERE task_id = task.id AND state IN ('open', 'stopped') AND position >= 0;
