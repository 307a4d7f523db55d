from django.db import migrations

# Scripts keep their keys; the plain keys are gone. The log of Django's admin quoted the key of a token it created.
MOVE = """
DO $$
BEGIN
    IF to_regclass('authtoken_token') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO accounts_apitoken (user_id, digest, hint, created_at)
        SELECT user_id, encode(sha256(convert_to(key, 'UTF8')), 'hex'), left(key, 4), created FROM authtoken_token;
    DROP TABLE authtoken_token;
    IF to_regclass('django_admin_log') IS NOT NULL THEN
        UPDATE django_admin_log SET object_repr = 'API token', change_message = ''
            WHERE content_type_id IN (SELECT id FROM django_content_type WHERE app_label = 'authtoken');
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_account_events_stand")]
    operations = [migrations.RunSQL(MOVE, migrations.RunSQL.noop)]
