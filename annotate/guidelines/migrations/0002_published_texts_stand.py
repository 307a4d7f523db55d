from django.db import migrations

FORBID = """
CREATE FUNCTION guidelineversion_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a published guideline version is never changed: answers name it' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER guidelineversion_stands BEFORE UPDATE OR DELETE ON guidelines_guidelineversion
    FOR EACH ROW WHEN (OLD.published_at IS NOT NULL) EXECUTE FUNCTION guidelineversion_stands();
"""
ALLOW = """
DROP TRIGGER guidelineversion_stands ON guidelines_guidelineversion;
DROP FUNCTION guidelineversion_stands();
"""


class Migration(migrations.Migration):
    dependencies = [("guidelines", "0001_tables")]
    operations = [migrations.RunSQL(FORBID, ALLOW)]
