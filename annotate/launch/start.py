"""bin/start: run the platform from a checkout until Ctrl-C."""

import argparse
import hashlib
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from annotate.accounts.demo import DEMO_PASSWORDS
from annotate.launch import embedded_postgres
from annotate.launch.bootstrap import (
    Refused,
    in_one_sentence,
    is_for_this_machine,
    only_one,
    refuse_reachable_demo,
    require_free_port,
    say,
    start_arguments,
    step,
    var_folder,
)
from annotate.launch.postgres_binaries import NoPostgres
from annotate.launch.supervisor import Service, Supervisor
from annotate.launch.surroundings import (
    forget_demo_passwords,
    make_demo_passwords,
    make_folders,
    read_or_make_secrets,
    require_database,
)
from annotate.lib import private

# Database connections: one per web thread (2 x 4, and 2 x 2 for large requests), 4 for the worker, one each for beat
# and sampling, and a few for commands. PostgreSQL allows 100.
WEB_PROCESSES = 2
WEB_THREADS = 4
# Each client may need a second descriptor, and many systems allow 1,024 per process.
WEB_CONNECTIONS = 400
WORKER_THREADS = 4
SECONDS_TO_ANSWER = 120
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104


def services(*, host: str, port: int, sampling: bool) -> list[Service]:
    queue = "celery -A annotate.celery worker --without-gossip --without-mingle --loglevel=INFO"
    named = [
        _service(
            "web",
            f"gunicorn annotate.wsgi --bind {_in_url(host)}:{port} --workers {WEB_PROCESSES} --threads {WEB_THREADS} "
            f"--worker-connections {WEB_CONNECTIONS} --worker-class annotate.launch.gunicorn_worker.Worker "
            "--graceful-timeout 8 --no-control-socket",
        ),
        _service("worker", f"{queue} -Q default -P threads -c {WORKER_THREADS} -n default@%h"),
        _service("beat", "celery -A annotate.celery beat --pidfile="),
    ]
    if sampling:
        # One process, because it holds the loaded policy.
        named.append(_service("sampling", f"{queue} -Q sampling -P solo -n sampling@%h"))
    return named


def _service(name: str, module_and_options: str) -> Service:
    return Service(name, (sys.executable, "-m", *module_and_options.split()))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def keeper(var: Path, *options: str) -> Service:
    return Service(
        "database",
        (sys.executable, "-m", "annotate.launch.embedded_postgres", str(var), *options),
        foundation=True,
        seconds_to_stop=70,
        orphaned_by=signal.SIGTERM,
    )


def main(arguments: list[str]) -> None:
    options = start_arguments(arguments)
    var = var_folder(os.environ)
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, _leave)
    os.umask(private.UMASK)
    with in_one_sentence("start"), only_one(var, f"the platform (process {os.getpid()}, port {options.port})"):
        refuse_reachable_demo(options)
        require_free_port(options.host, options.port)
        try:
            _run(options, var)
        except NoPostgres as refusal:
            raise Refused(str(refusal)) from None


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, var: Path) -> None:
    made = read_or_make_secrets(var)
    environment = made | os.environ | {"VAR_DIR": str(var), "PYTHONUNBUFFERED": "1"}
    environment.setdefault("ALLOWED_HOSTS", ",".join(_names_of_this_machine(options.host)))
    make_folders(var)
    supervisor = Supervisor(var / "log", say)
    embedded = not environment.get("DATABASE_URL")
    try:
        if embedded:
            say("Starting the embedded PostgreSQL")
            environment["DATABASE_URL"] = embedded_postgres.ensure_running(var)
            supervisor.start(keeper(var), environment)
        else:
            require_database(environment["DATABASE_URL"])
        printed = _prepare(var, environment, options)
        for name in DEMO_PASSWORDS.values():
            environment.pop(name, None)
        for service in services(host=options.host, port=options.port, sampling=not options.web_only):
            say(f"Starting {service.name}")
            supervisor.start(service, environment)
        _wait_for_pages(supervisor, options.host, options.port)
        _announce(options, printed=printed)
        while True:
            supervisor.look()
            time.sleep(0.25)
    except KeyboardInterrupt:
        say("\nStopping")
    finally:
        supervisor.stop()
        if embedded:
            embedded_postgres.stop(var)
    say("Stopped. The data is kept.")


def _names_of_this_machine(host: str) -> list[str]:
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in EVERY_ADDRESS:
        names += [socket.gethostname(), socket.getfqdn()]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing, but selects the address that faces the network
                names.append(probe.getsockname()[0])
            except OSError:
                pass
    elif host not in names:
        names.append(_in_url(host))
    return names


def _prepare(var: Path, environment: Mapping[str, str], options: argparse.Namespace) -> bool:
    """Returns whether it printed passwords.

    Load the demonstration once per database, so that deleted parts stay deleted.
    """
    marker, created = var / "demonstration-loaded", var / "demonstration-logins"
    database = hashlib.sha256(environment["DATABASE_URL"].encode()).hexdigest()
    demo = not options.no_demo and (not marker.exists() or marker.read_text() != database)
    passwords = make_demo_passwords() if demo else {}
    passwords |= {name: environment[name] for name in DEMO_PASSWORDS.values() if environment.get(name)}
    command = [sys.executable, "-m", "annotate.launch.prepare"]
    command += ["--demo", str(created)] if demo else []
    command += ["--end-demo"] if options.end_demo else []
    command += [] if is_for_this_machine(options.host) else ["--reachable"]
    step("the preparation of the database", command, environment={**environment, **passwords})
    forget_demo_passwords(var)
    if demo:
        # Nothing may fail before, because the passwords exist nowhere else.
        printed = _print_logins(created.read_text().split(), passwords)
        created.unlink()
        marker.write_text(database)
        return printed
    return False


def _print_logins(created: Sequence[str], passwords: Mapping[str, str]) -> bool:
    shown = {login: passwords[name] for login, name in DEMO_PASSWORDS.items() if login in created}
    if shown:
        say("\n  login       password (shown only this once, and stored in no file)")
        for login, password in shown.items():
            say(f"  {login:<10}  {password}")
        say("")
    return bool(shown)


def _wait_for_pages(supervisor: Supervisor, host: str, port: int) -> None:
    say("Waiting for the pages")
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not (status := _first_page("localhost" if host in EVERY_ADDRESS else host, port)):
        supervisor.look()
        if supervisor.deaths("web") > 2 or time.monotonic() > deadline:
            raise Refused("the web server does not start. See var/log/web.log for the reason.")
        time.sleep(0.25)
    if status >= 500:
        supervisor.look()
        raise Refused("the first page fails. See var/log/web.log for the reason.")


def _first_page(host: str, port: int) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _announce(options: argparse.Namespace, *, printed: bool) -> None:
    shown = "localhost" if options.host in (*EVERY_ADDRESS, "127.0.0.1") else _in_url(options.host)
    say(f"\nThe platform is up at http://{shown}:{options.port}\n")
    if options.no_demo:
        say("  Create the first manager with: .venv/bin/python manage.py createsuperuser --role manager")
    else:
        say(f"  Logins of the demonstration: {', '.join(DEMO_PASSWORDS)}.")
        say(f"  Their passwords {'are above; write them down now' if printed else 'were shown at the first start'}.")
        say("  Set a new one with: .venv/bin/python manage.py changepassword LOGIN")
    if options.web_only:
        say("  Sampling is off (--web-only).")
    say("\nCtrl-C stops everything and keeps the data.")


if __name__ == "__main__":
    main(sys.argv[1:])
