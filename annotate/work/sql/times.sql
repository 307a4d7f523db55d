-- name: lock_stopwatch
-- Makes the reports of one labeler wait for each other.
SELECT counted_until FROM work_stopwatch WHERE labeler_id = :labeler FOR UPDATE;

-- name: start_stopwatch
INSERT INTO work_stopwatch (labeler_id, counted_until) VALUES (:labeler, :since) ON CONFLICT DO NOTHING;

-- name: count
-- Ignores a visit id of another labeler or task, and a report older than the last one. LEAST also removes rounding
-- errors of the sum.
WITH counted AS (
    INSERT INTO work_pagevisit AS visit (id, task_id, labeler_id, reported, seconds)
    VALUES (:visit, :task, :labeler, :total::float8, LEAST(:total::float8, :passed::float8))
    ON CONFLICT (id) DO UPDATE SET
        reported = excluded.reported,
        seconds = LEAST(excluded.reported, visit.seconds + LEAST(excluded.reported - visit.reported, :passed::float8))
    WHERE visit.task_id = excluded.task_id AND visit.labeler_id = excluded.labeler_id
        AND visit.reported < excluded.reported
    RETURNING labeler_id
)
UPDATE work_stopwatch SET counted_until = GREATEST(counted_until, :now::timestamptz) FROM counted
WHERE work_stopwatch.labeler_id = counted.labeler_id;

-- name: active_seconds
-- NULL without any report.
SELECT round(sum(seconds)) FROM work_pagevisit WHERE task_id = :task AND labeler_id = :labeler;
