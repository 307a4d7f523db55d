"""The databases of the tests: migrated once for all runs, and emptied quickly after a test that commits."""

import fcntl
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import django
from django.apps import apps
from django.conf import settings
from django.db import connection, transaction

from annotate.launch import embedded_postgres

# Processes that look for the same template at the same time do so one after the other.
LOCK = 7_402_196_531
# What `migrate` itself writes. No test changes these tables, so they keep their rows.
OF_DJANGO = {"django_content_type", "auth_permission"}
# Bytes of a table's rows, dead ones included, from which TRUNCATE costs less than DELETE.
LARGE = 1 << 20

FILLED = """
    SELECT relname, pg_relation_size(oid) FROM pg_class
    WHERE oid = ANY (%s::regclass[]) AND pg_relation_size(oid) > 0
"""
# Triggers that forbid a DELETE: bit 3 of tgtype.
GUARDED = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 8 <> 0"


def migrated_template() -> str:
    """Return the name of a database that all migrations have made and that is otherwise empty.

    Migrating takes ten seconds of processor, a copy a fraction of one. The database stays on the server between runs.
    Its name holds a fingerprint of the migrations, and a new one replaces those of other migrations.
    """
    prefix = f"test_{settings.DATABASES['default']['NAME']}_migrated_"
    name = prefix + _fingerprint()
    with connection._nodb_cursor() as server:
        server.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        found = {row[0] for row in server.fetchall()}
        if name not in found:
            for earlier in found:
                server.execute(f'DROP DATABASE IF EXISTS "{earlier}"')
            # Under another name until it is whole, so that a process that is killed leaves no half.
            unfinished = f"{prefix}unfinished"
            server.execute(f'CREATE DATABASE "{unfinished}"')
            _migrate(database_url(unfinished))
            server.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{name}"')
    return name


def _fingerprint() -> str:
    """The migrations of every app, and the version of Django, which writes their SQL."""
    digest = sha256(django.__version__.encode())
    for app in apps.get_app_configs():
        for path in sorted((Path(app.path) / "migrations").rglob("*")):
            if path.suffix in (".py", ".sql"):
                digest.update(f"\0{app.label}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def database_url(name: str | None = None) -> str:
    """A DATABASE_URL for other processes: of this database on the server of the tests, or of this test's own."""
    at = {key: quote(str(connection.settings_dict[key] or ""), safe="") for key in ("USER", "PASSWORD", "HOST", "PORT")}
    port = f":{at['PORT']}" if at["PORT"] else ""
    name = name or connection.settings_dict["NAME"]
    return f"postgresql://{at['USER']}:{at['PASSWORD']}@{at['HOST']}{port}/{name}"


def empty_tables(_test_case: object = None) -> None:
    """Empty every table, as Django's `flush` does after a test that commits, in a tenth of its time.

    `flush` truncates all tables, which replaces each of their files and those of their indexes, and then asks for
    every permission again. Most tests leave few rows in few tables, so those rows are deleted. The lock waits for
    transactions that other connections have not ended yet, as TRUNCATE does.
    """
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [f'"{name}"' for name in names if name not in OF_DJANGO]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(FILLED, [tables])
        sizes = dict(cursor.fetchall())
        if not sizes:
            return
        if max(sizes.values()) > LARGE:
            cursor.execute(f"TRUNCATE {', '.join(tables)}")
            return
        cursor.execute(GUARDED)
        guarded = [name for (name,) in cursor.fetchall() if name in sizes]
        statements = [f'ALTER TABLE "{name}" DISABLE TRIGGER USER' for name in guarded]
        statements += [f'DELETE FROM "{name}"' for name in sizes]
        # The foreign keys are checked here: an ALTER TABLE does not wait until the end of the transaction for that.
        statements += ["SET CONSTRAINTS ALL IMMEDIATE"]
        statements += [f'ALTER TABLE "{name}" ENABLE TRIGGER USER' for name in guarded]
        cursor.execute("; ".join(statements))


def migrated_cluster(var: Path) -> None:
    """Give `var` an embedded PostgreSQL that all migrations have run on, for a platform that starts there.

    initdb and the migrations take eleven seconds of processor. They run once; each call copies their result.
    tests/launch/test_start.py starts from nothing.
    """
    prepared = Path(os.environ["VAR_DIR"]).resolve() / "prepared"
    whole = prepared / _fingerprint()
    prepared.mkdir(parents=True, exist_ok=True)
    with (prepared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            unfinished = prepared / "unfinished"
            # Of a process that was killed here.
            embedded_postgres.stop(unfinished)
            for earlier in prepared.glob("*/"):
                shutil.rmtree(earlier)
            _migrate(embedded_postgres.ensure_running(unfinished, durable=False))
            embedded_postgres.stop(unfinished)
            unfinished.rename(whole)
    home = var / "postgres"
    home.mkdir(parents=True)
    home.chmod(0o711)
    # It keeps owners: root's PostgreSQL runs as another account.
    subprocess.run(["cp", "-a", whole / "postgres" / "data", whole / "postgres" / "password", home], check=True)


def _migrate(url: str) -> None:
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=settings.BASE_DIR, env=os.environ | {"DATABASE_URL": url}, check=True)
