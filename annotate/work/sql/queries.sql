-- name: has_held
SELECT EXISTS (
        SELECT FROM work_assignment mine WHERE mine.task_id = :task AND mine.labeler_id = :labeler)
    OR EXISTS (
        SELECT FROM work_assignment slot JOIN work_event event ON event.assignment_id = slot.id
        WHERE slot.task_id = :task AND event.actor_id = :labeler AND event.move = 'claim');
