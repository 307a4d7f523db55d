-- name: lock_seat
-- Everybody who has held a task of the campaign has a seat.
SELECT seat.id FROM work_seat seat JOIN work_assignment slot ON slot.campaign_id = seat.campaign_id
WHERE slot.id = :assignment AND seat.labeler_id = :labeler FOR UPDATE OF seat;

-- name: requested
-- Rows for the answer with this submit key and the labeler's slot of the task; one row without a slot if there is none.
WITH slot AS (
    SELECT slot.* FROM work_assignment slot
    WHERE slot.submit_key = :key OR (slot.labeler_id = :labeler AND slot.task_id = (
        SELECT requested.task_id FROM work_assignment requested WHERE requested.id = :assignment))
    ORDER BY slot.id FOR UPDATE OF slot)
SELECT campaign.*, requested.task_id, requested.labeler_id, slot.*
FROM work_assignment requested JOIN work_campaign campaign ON campaign.id = requested.campaign_id
JOIN work_seat seat ON seat.campaign_id = requested.campaign_id AND seat.labeler_id = :labeler
LEFT JOIN slot ON true
WHERE requested.id = :assignment ORDER BY slot.id;
