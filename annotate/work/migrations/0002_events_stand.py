from django.db import migrations

FORBID = """
CREATE FUNCTION event_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER event_stands BEFORE UPDATE OR DELETE ON work_event
    FOR EACH ROW EXECUTE FUNCTION event_stands();
"""
ALLOW = """
DROP TRIGGER event_stands ON work_event;
DROP FUNCTION event_stands();
"""


class Migration(migrations.Migration):
    dependencies = [("work", "0001_tables")]
    operations = [migrations.RunSQL(FORBID, ALLOW)]
