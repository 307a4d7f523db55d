-- name: renew
UPDATE work_assignment slot SET leased_until = CASE
    WHEN slot.hand = :prefetched THEN slot.leased_until
    ELSE :now::timestamptz + campaign.lease_minutes * interval '1 minute' END
FROM work_campaign campaign
WHERE slot.id = :assignment AND slot.labeler_id = :labeler AND slot.state = 'leased'
    AND campaign.id = slot.campaign_id
RETURNING slot.leased_until;

-- name: held
SELECT slot.* FROM work_assignment slot
WHERE slot.campaign_id = :campaign AND slot.labeler_id = :labeler AND slot.state = 'leased' ORDER BY slot.id;

-- name: lock_held
SELECT slot.* FROM work_assignment slot
WHERE slot.campaign_id = :campaign AND slot.labeler_id = :labeler AND slot.state = 'leased' ORDER BY slot.id
FOR UPDATE;
