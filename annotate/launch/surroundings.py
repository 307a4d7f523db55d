import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from annotate.accounts.demo import DEMO_PASSWORDS
from annotate.launch import embedded_postgres
from annotate.launch.bootstrap import ROOT, Refused, read_variables, var_folder
from annotate.lib import private

KEYS = ("SECRET_KEY", "SPLIT_KEY")
EASY_TO_TYPE = "abcdefghijkmnpqrstuvwxyz23456789"


def read_or_make_secrets(var: Path) -> dict[str, str]:
    file = var / "secrets.env"
    held = read_variables(file)
    made = {name: secrets.token_urlsafe(48) for name in KEYS}
    missing = {name: value for name, value in made.items() if name not in held}
    if missing:
        var.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as output:
            output.writelines(f"{name}={value}\n" for name, value in missing.items())
    return held | missing


def make_demo_passwords() -> dict[str, str]:
    return {name: "".join(secrets.choice(EASY_TO_TYPE) for _ in range(12)) for name in DEMO_PASSWORDS.values()}


def forget_demo_passwords(var: Path) -> None:
    """Remove passwords that earlier versions stored in var/secrets.env."""
    file = var / "secrets.env"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.partition("=")[0].strip() not in DEMO_PASSWORDS.values()]
    if kept != lines:
        with os.fdopen(os.open(var / "secrets.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
            output.writelines(kept)
        (var / "secrets.new").rename(file)


def make_folders(var: Path) -> None:
    """Folders of earlier versions were not private."""
    for name in ("broker", "broker-control", "log"):
        private.make_folder(var / name)
    for name in ("broker", "broker-control", "log", "exports", "files"):
        private.close_to_others(var / name)


def complete(environment: Mapping[str, str]) -> dict[str, str]:
    """Add the variables of bin/start, for manage.py. Starts and writes nothing."""
    variables = read_variables(ROOT / ".env") | dict(environment)
    var = var_folder(variables)
    variables = read_variables(var / "secrets.env") | variables
    if not variables.get("DATABASE_URL") and (url := embedded_postgres.address(var)):
        variables["DATABASE_URL"] = url
    return variables


def require_database(url: str) -> None:
    """Connect once, to report errors clearly. Raises Refused."""
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.Error as error:
        reason = " ".join(str(error).split())
        raise Refused(f"the database refuses the connection ({reason}). Start it, or correct DATABASE_URL.") from None
