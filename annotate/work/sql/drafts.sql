-- name: lock_seat
SELECT seat.id FROM work_seat seat JOIN work_task task ON task.campaign_id = seat.campaign_id
WHERE task.id = :task AND seat.labeler_id = :labeler FOR UPDATE OF seat;

-- name: keep
-- Also returns the replaced text. The lock on the seat excludes concurrent writers.
WITH before AS (SELECT body, saved_at FROM work_draft WHERE task_id = :task AND labeler_id = :labeler)
INSERT INTO work_draft AS draft (task_id, labeler_id, body, saved_at)
SELECT :task::bigint, :labeler::bigint, :body::jsonb, :now::timestamptz
WHERE NOT EXISTS (
    SELECT FROM work_assignment answer WHERE answer.task_id = :task AND answer.labeler_id = :labeler
    AND answer.state IN ('submitted', 'accepted'))
ON CONFLICT (task_id, labeler_id) DO UPDATE SET body = excluded.body, saved_at = excluded.saved_at
RETURNING draft.*, (SELECT body FROM before), (SELECT saved_at FROM before);

-- name: drop
DELETE FROM work_draft WHERE task_id = :task AND labeler_id = :labeler;
