from dataclasses import replace
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.samples.models import CurrentPolicy, Policy, ServerProbe
from annotate.samples.rules import check_server, server_address
from annotate.samples.spec import CHECKPOINTS, FIELDS, Origin, PolicySpec
from annotate.samples.tasks import FILL, PROBE


class PolicyExists(Refusal):
    message = _("A policy with this name and revision exists. Give the new checkpoint a new revision.")


class LocationMismatch(Refusal):
    message = _(
        "Give a folder, a hub id or a server's address for a policy that is sampled here, and none for one whose "
        "completions are imported."
    )


class NotACheckpoint(Refusal):
    message = _(
        "An adapter, quantisation, a GPU and weights that are not safetensors need a checkpoint that a worker loads "
        "from a folder or a hub. Leave them out, or choose another origin."
    )


class NotAServer(Refusal):
    message = _(
        "A model on the server, an endpoint and a key need a policy behind a server. Leave them out, or choose another "
        "origin."
    )


class WrongStage(Refusal):
    message = _("This policy belongs to another stage. Choose a policy of the stage.")


class NotSampledHere(Refusal):
    message = _("This policy has only imported completions. Choose one that a worker can load.")


def misplaced(name: str) -> Refusal:
    return NotACheckpoint() if FIELDS[name].origins == CHECKPOINTS else NotAServer()


def create(*, spec: PolicySpec, now: datetime) -> Policy:
    """A worker then probes the policy's server, if it has one.

    Raises PolicyExists, LocationMismatch, NotACheckpoint, NotAServer or rules.BadServer.
    """
    spec = _checked(spec)
    policy = Policy(**spec.values(), created_at=now)
    try:
        with transaction.atomic():
            policy.save()
            if policy.origin == Origin.SERVER:
                probe = ServerProbe.objects.create(policy=policy, asked_at=now)
                wake(PROBE, probe.id)
    except IntegrityError as taken:
        raise PolicyExists from taken
    return policy


def _checked(spec: PolicySpec) -> PolicySpec:
    if (spec.origin == Origin.IMPORTED) == bool(spec.location):
        raise LocationMismatch
    if names := spec.misplaced():
        raise misplaced(names[0])
    if spec.origin != Origin.SERVER:
        return spec
    spec = replace(spec, location=server_address(spec.location))
    check_server(
        served_model=spec.served_model,
        endpoint=spec.endpoint,
        key_name=spec.key_name,
        chat_template=spec.chat_template,
    )
    return spec


def move_current(*, stage: str, policy: Policy, by: User | None, now: datetime) -> CurrentPolicy:
    """Raises WrongStage or NotSampledHere."""
    if policy.stage != stage:
        raise WrongStage
    if policy.origin == Origin.IMPORTED:
        raise NotSampledHere
    moved = {"policy": policy, "moved_by": by, "moved_at": now}
    with transaction.atomic():
        pointer, created = CurrentPolicy.objects.select_for_update().get_or_create(stage=stage, defaults=moved)
        if not created and pointer.policy_id != policy.id:
            pointer.previous_id, pointer.policy = pointer.policy_id, policy
            pointer.moved_by, pointer.moved_at = by, now
            pointer.save()
            wake(FILL)
    return pointer
