"""The settings as another environment would have them, read by a process of their own."""

import json
import os
import subprocess
import sys
from typing import Any

from annotate.launch.bootstrap import ROOT

PROGRAM = "import json, sys; from annotate import settings; print(json.dumps(getattr(settings, sys.argv[1], None)))"


def value_of(name: str, **variables: str) -> Any:
    """The setting with these variables in the environment, and without those that would change it here."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("EMAIL_", "HTTPS", "HSTS_"))}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)
