import os
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext

from annotate.samples.models import Policy
from annotate.samples.rules import KEY_NAME
from models_worker.engine.chat import PLAIN, Template
from models_worker.engine.openai_engine import OpenAISampler
from models_worker.engine.patience import Patience
from models_worker.engine.server import Endpoint, Server

# A manager is waiting.
PROBING = Patience(seconds=60, tries=3, busy=120)


class NotAllowed(Exception):
    """The message says what the environment of this worker lacks."""


def sampler(policy: Policy) -> OpenAISampler:
    """Raises NotAllowed."""
    return OpenAISampler(
        server_of(policy),
        concurrency=settings.SERVER_CONCURRENCY,
        patience=Patience(seconds=settings.SERVER_TIMEOUT),
    )


def server_of(policy: Policy) -> Server:
    """With the settings that its probe found. Raises NotAllowed."""
    probe = getattr(policy, "probe", None)
    found = probe.findings if probe else {}
    _check_host(policy.location)
    own = policy.chat_template and policy.chat_template != PLAIN.name
    return Server(
        url=policy.location,
        model=policy.served_model,
        endpoint=cast(Endpoint, policy.endpoint),
        key=_key(policy.key_name) if policy.key_name else "",
        template=Template("policy", policy.chat_template) if own else PLAIN,
        examples=tuple(policy.examples),
        takes_seed=found.get("takes_seed", True),
        takes_whole_top_p=found.get("takes_whole_top_p", True),
        limit=found.get("limit", "max_tokens"),
        reproducible=found.get("seed"),
    )


def _check_host(url: str) -> None:
    """The operator decides which hosts a worker calls. Raises NotAllowed."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not {host, f"{host}:{port}"} & {each.lower() for each in settings.SERVER_HOSTS}:
        raise NotAllowed(
            gettext("This worker may not call %(host)s. Its operator can add it to SERVER_HOSTS in the environment.")
            % {"host": parts.netloc}
        )


def _key(name: str) -> str:
    """From NAME or from the file that NAME_FILE names. Raises NotAllowed."""
    if not KEY_NAME.fullmatch(name):
        raise NotAllowed(gettext("%(name)s is not the name of a server's key.") % {"name": name})
    key = os.environ.get(name, "")
    if not key and (file := os.environ.get(f"{name}_FILE", "")):
        try:
            key = Path(file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise NotAllowed(
                gettext("The file of the key %(name)s cannot be read: %(error)s")
                % {"name": name, "error": type(error).__name__}
            ) from None
    key = key.strip()
    if not key:
        raise NotAllowed(
            gettext("This worker has no key %(name)s. Its operator can set it in the environment, or %(name)s_FILE.")
            % {"name": name}
        )
    # The HTTP client's own error would quote the key.
    if not (key.isascii() and key.isprintable()):
        raise NotAllowed(
            gettext("The key %(name)s has characters that HTTP headers do not allow. Its operator can correct it.")
            % {"name": name}
        )
    return key
