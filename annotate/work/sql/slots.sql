-- Selections of slots that nobody holds, for move_all.

-- name: free_of_campaign
SELECT id FROM work_assignment WHERE campaign_id = :campaign AND state IN ('open', 'stopped');

-- name: free_of_closed
SELECT slot.id FROM work_campaign campaign JOIN work_assignment slot ON slot.campaign_id = campaign.id
WHERE campaign.state = 'closed' AND slot.state IN ('open', 'stopped');

-- name: free_of_tasks
SELECT id FROM work_assignment WHERE task_id = ANY(:tasks) AND state IN ('open', 'stopped');
