from typing import TYPE_CHECKING

from django.utils.translation import gettext

from annotate.samples import queries
from annotate.samples.models import Origin, Policy
from models_worker import checkpoints

if TYPE_CHECKING:
    from models_worker.engine.types import Sampler


class Unusable(Exception):
    """No prompt of a run can be sampled. The message is for its manager."""


def load_sampler(policy: Policy) -> "Sampler":
    """Raises Unusable."""
    if policy.origin == Origin.SERVER:
        return _sampler_of_server(policy)
    try:
        sampler = checkpoints.sampler(policy)
    except checkpoints.NotLoaded as error:
        raise Unusable(str(error)) from error
    known = queries.sampled_weights(policy)
    if known and known != (sampler.checkpoint_sha256, sampler.policy.adapter_sha256):
        raise Unusable(
            gettext("The files of %(policy)s have changed since it was first sampled. Register them as a new revision.")
            % {"policy": policy}
        )
    return sampler


def _sampler_of_server(policy: Policy) -> "Sampler":
    # Only workers that need an HTTP client load one.
    from models_worker import servers

    try:
        return servers.sampler(policy)
    except servers.NotAllowed as error:
        raise Unusable(str(error)) from error
