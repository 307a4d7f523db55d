from django.db import migrations

FORBID = """
CREATE FUNCTION promptgroup_split_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the split of a prompt group never changes: a model may have learned from it'
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER promptgroup_split_stands BEFORE UPDATE ON pools_promptgroup
    FOR EACH ROW WHEN (OLD.split IS DISTINCT FROM NEW.split) EXECUTE FUNCTION promptgroup_split_stands();
CREATE FUNCTION prompt_group_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a prompt never changes its group or its messages: answers and splits rest on them'
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER prompt_group_stands BEFORE UPDATE ON pools_prompt
    FOR EACH ROW WHEN (OLD.group_id <> NEW.group_id OR OLD.content_hash <> NEW.content_hash)
    EXECUTE FUNCTION prompt_group_stands();
"""
ALLOW = """
DROP TRIGGER prompt_group_stands ON pools_prompt;
DROP FUNCTION prompt_group_stands();
DROP TRIGGER promptgroup_split_stands ON pools_promptgroup;
DROP FUNCTION promptgroup_split_stands();
"""


class Migration(migrations.Migration):
    dependencies = [("pools", "0001_tables")]
    operations = [migrations.RunSQL(FORBID, ALLOW)]
