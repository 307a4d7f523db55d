from django.db import migrations

# Only the time of a dismissal may be written later, and only once.
FORBID = """
CREATE FUNCTION account_event_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.dismissed_at IS NULL
        AND (to_jsonb(NEW) - 'dismissed_at') = (to_jsonb(OLD) - 'dismissed_at') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'account events are append-only' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER account_event_stands BEFORE UPDATE OR DELETE ON accounts_accountevent
    FOR EACH ROW EXECUTE FUNCTION account_event_stands();
"""
ALLOW = """
DROP TRIGGER account_event_stands ON accounts_accountevent;
DROP FUNCTION account_event_stands();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_links_events_and_hashed_tokens")]
    operations = [migrations.RunSQL(FORBID, ALLOW)]
