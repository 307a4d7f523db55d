-- name: eligibility
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
            WHERE held.user_id = :labeler AND held.qualification_id = needed.qualification_id))
FROM work_campaign campaign LEFT JOIN LATERAL (
    SELECT version.id FROM guidelines_guidelineversion version
    WHERE version.guideline_id = campaign.guideline_id AND version.published_at IS NOT NULL
    ORDER BY version.number DESC LIMIT 1
) AS current ON true
WHERE campaign.id = :campaign;
