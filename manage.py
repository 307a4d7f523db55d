#!/usr/bin/env python
"""Django's command line, with the database and the keys of bin/start where none are set."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError

from annotate.launch import surroundings
from annotate.launch.bootstrap import Refused

if __name__ == "__main__":
    os.environ.update(surroundings.complete(os.environ))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError:
        try:
            surroundings.require_database(os.environ["DATABASE_URL"])
        except Refused as refusal:
            sys.exit(f"manage.py: {refusal} bin/start brings up one of its own.")
        raise
