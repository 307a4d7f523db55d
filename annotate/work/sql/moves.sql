-- moves.py inserts {columns}, {found} (a search of queue.sql), {selected} (a selection) and {along} (more statements).

-- name: move
WITH moved AS (
    UPDATE work_assignment slot SET {columns}
    WHERE slot.id = :id AND slot.state = :before
        AND slot.labeler_id IS NOT DISTINCT FROM :labeler_before::bigint AND slot.rounds = :rounds_before
    RETURNING slot.id
), events AS (
    INSERT INTO work_event (assignment_id, move, actor_id, at, detail)
    SELECT moved.id, step.move, :actor::bigint, :now::timestamptz, :detail::jsonb
    FROM moved, unnest(:moves::text[]) WITH ORDINALITY AS step(move, number) ORDER BY step.number
){along}
SELECT id FROM moved;

-- name: move_first
WITH found AS ({found}), moved AS (
    UPDATE work_assignment slot SET {columns}
    FROM found WHERE slot.id = found.id AND slot.state = :before
    RETURNING slot.*
), events AS (
    INSERT INTO work_event (assignment_id, move, actor_id, at, detail)
    SELECT moved.id, step.move, :actor::bigint, :now::timestamptz, :detail::jsonb
    FROM moved, unnest(:moves::text[]) WITH ORDINALITY AS step(move, number) ORDER BY step.number
){along}
SELECT * FROM moved;

-- name: move_all
-- Skips slots that a concurrent claim has locked.
WITH selected AS MATERIALIZED ({selected} LIMIT :limit), locked AS MATERIALIZED (
    SELECT id, state FROM work_assignment
    WHERE id IN (SELECT id FROM selected) AND state = ANY(:before::text[]) FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE work_assignment slot SET state = :state FROM locked WHERE slot.id = locked.id
), events AS (
    INSERT INTO work_event (assignment_id, move, actor_id, at)
    SELECT locked.id, step.move, :actor::bigint, :now::timestamptz
    FROM locked JOIN unnest(:step_states::text[], :step_moves::text[]) WITH ORDINALITY AS step(state, move, number)
        ON step.state = locked.state
    ORDER BY locked.id, step.number
)
SELECT (SELECT count(*) FROM selected), count(*) FROM locked;
