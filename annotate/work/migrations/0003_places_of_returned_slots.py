from django.db import migrations

# Slots that come back stand before all others, in the order in which they came.
MAKE = "CREATE SEQUENCE work_returned MINVALUE -4611686018427387904 MAXVALUE -1 START -4611686018427387904"
DROP = "DROP SEQUENCE work_returned"


class Migration(migrations.Migration):
    dependencies = [("work", "0002_events_stand")]
    operations = [migrations.RunSQL(MAKE, DROP)]
