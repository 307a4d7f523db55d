from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.pools.models import Pool, Prompt
from annotate.samples.spec import CHECKPOINTS, MAX_NEW_TOKENS, TEMPERATURE, TOP_P, K, Quantisation, column
from annotate.samples.spec import Origin as Origin
from annotate.samples.spec import Stage as Stage
from annotate.samples.states import ProbeState, RequestState, RunState


class Policy(models.Model):
    """See PolicySpec. Its weights never change: a new checkpoint is a new revision."""

    name = models.CharField(**column("name"))
    revision = models.CharField(**column("revision"))
    stage = models.CharField(**column("stage"))
    origin = models.CharField(**column("origin"))
    location = models.CharField(**column("location"))
    served_model = models.CharField(**column("served_model"))
    endpoint = models.CharField(**column("endpoint"))
    key_name = models.CharField(**column("key_name"))
    adapter = models.CharField(**column("adapter"))
    chat_template = models.TextField(**column("chat_template"))
    examples = models.JSONField(**column("examples"))
    dtype = models.CharField(**column("dtype"))
    quantisation = models.CharField(**column("quantisation"))
    unsafe_weights = models.BooleanField(**column("unsafe_weights"))
    needs_gpu = models.BooleanField(**column("needs_gpu"))
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name", "revision"], name="policy_name_revision_once"),
            models.CheckConstraint(
                condition=models.Q(origin=Origin.IMPORTED, location="")
                | (~models.Q(origin=Origin.IMPORTED) & ~models.Q(location="")),
                name="policy_location_unless_imported",
            ),
            models.CheckConstraint(
                condition=models.Q(origin__in=CHECKPOINTS)
                | models.Q(adapter="", quantisation=Quantisation.NONE, unsafe_weights=False, needs_gpu=False),
                name="policy_only_checkpoints_are_loaded",
            ),
            models.CheckConstraint(
                condition=models.Q(~models.Q(served_model=""), ~models.Q(endpoint=""), origin=Origin.SERVER)
                | models.Q(~models.Q(origin=Origin.SERVER), served_model="", endpoint="", key_name=""),
                name="policy_of_a_server_names_its_model",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} · {self.revision}"

    @property
    def reproducible(self) -> bool | None:
        """None: unknown."""
        if self.origin == Origin.SERVER:
            probe: ServerProbe | None = getattr(self, "probe", None)
            return probe.findings.get("seed") if probe else None
        return True if self.origin in CHECKPOINTS else None


class ServerProbe(models.Model):
    """`findings` and `found_at` are of the last probe that finished, `error` of a later one in the same row."""

    policy = models.OneToOneField(Policy, on_delete=models.CASCADE, related_name="probe")
    state = models.CharField(max_length=16, choices=ProbeState.choices, default=ProbeState.WAITING)
    stage = models.PositiveSmallIntegerField(default=0)
    leased_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    findings = models.JSONField(default=dict)
    asked_at = models.DateTimeField()
    found_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state=ProbeState.RUNNING, leased_until__isnull=False)
                | (~models.Q(state=ProbeState.RUNNING) & models.Q(leased_until=None)),
                name="serverprobe_lease_only_while_running",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=ProbeState.DONE) | models.Q(found_at__isnull=False),
                name="serverprobe_found_when_done",
            ),
        ]


class CurrentPolicy(models.Model):
    stage = models.CharField(max_length=8, choices=Stage.choices, unique=True)
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="+")
    previous = models.ForeignKey(Policy, on_delete=models.PROTECT, null=True, related_name="+")
    moved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    moved_at = models.DateTimeField()


class SampleRun(models.Model):
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="runs")
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="runs")
    k = models.PositiveSmallIntegerField(_("completions per prompt"), validators=K.validators)
    temperature = models.FloatField(_("temperature"), default=TEMPERATURE.default, validators=TEMPERATURE.validators)
    top_p = models.FloatField(_("top-p"), default=TOP_P.default, validators=TOP_P.validators)
    max_new_tokens = models.PositiveIntegerField(
        _("max new tokens"), default=MAX_NEW_TOKENS.default, validators=MAX_NEW_TOKENS.validators
    )
    stop = models.JSONField(_("stop strings"), default=list)
    seed = models.BigIntegerField(_("seed"))
    keep_tokens = models.BooleanField(_("keep token ids and logprobs"), default=False)
    resample_cut_off = models.BooleanField(_("sample cut-off completions again"), default=False)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.RUNNING)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(k__gte=K.minimum, k__lte=K.maximum), name="samplerun_k_1_to_64"),
            models.CheckConstraint(
                condition=models.Q(state=RunState.RUNNING, finished_at=None)
                | (~models.Q(state=RunState.RUNNING) & models.Q(finished_at__isnull=False)),
                name="samplerun_finished_when_not_running",
            ),
        ]


class SampleRequest(models.Model):
    run = models.ForeignKey(SampleRun, on_delete=models.CASCADE, related_name="requests")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="sample_requests")
    state = models.CharField(
        max_length=16, choices=RequestState.choices, default=RequestState.WAITING, db_default=RequestState.WAITING
    )
    leased_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, blank=True, default="", db_default="")
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    # Completions beyond the run's K, to replace some that no slate can use.
    extra = models.PositiveSmallIntegerField(default=0, db_default=0)
    error = models.TextField(blank=True, default="", db_default="")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "prompt"], name="samplerequest_prompt_once_a_run"),
            models.CheckConstraint(
                condition=models.Q(state=RequestState.LEASED, leased_until__isnull=False)
                | (~models.Q(state=RequestState.LEASED) & models.Q(leased_until=None)),
                name="samplerequest_lease_only_while_leased",
            ),
        ]
        indexes = [
            # For claims.
            models.Index(
                fields=["run", "id"], condition=models.Q(state=RequestState.WAITING), name="samplerequest_waiting"
            ),
            # For the sweep.
            models.Index(
                fields=["leased_until"], condition=models.Q(state=RequestState.LEASED), name="samplerequest_leased"
            ),
            # Whether the prompt will get more completions.
            models.Index(
                fields=["prompt"],
                condition=models.Q(state__in=[RequestState.WAITING, RequestState.LEASED]),
                name="samplerequest_pending",
            ),
        ]


class FinishReason(models.TextChoices):
    STOP = "stop", _("Ended by itself")
    LENGTH = "length", _("Cut off at the length limit")
    IMPORTED = "imported", _("Imported")


class Completion(models.Model):
    """A row never changes."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="completions")
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="completions")
    run = models.ForeignKey(SampleRun, on_delete=models.PROTECT, null=True, related_name="completions")
    k = models.PositiveSmallIntegerField(null=True)
    text = models.TextField()
    text_hash = models.CharField(max_length=64, help_text=_("sha256 of the normalised text"))
    # None for an import, or if a server did not count them.
    token_count = models.PositiveIntegerField(null=True)
    finish_reason = models.CharField(max_length=16, choices=FinishReason.choices)
    seed = models.BigIntegerField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    # temperature, top_p, max_new_tokens, stop; for an import those of the file.
    parameters = models.JSONField(default=dict)
    policy_revision = models.CharField(max_length=120)
    checkpoint_hash = models.CharField(max_length=64, blank=True)
    # Engine, versions, device, dtype, quantisation, hashes, cut tokens; token ids and logprobs if the run keeps them.
    provenance = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Nothing of a killed worker is stored twice.
            models.UniqueConstraint(
                fields=["run", "prompt", "k"], condition=models.Q(run__isnull=False), name="completion_k_once"
            ),
            models.UniqueConstraint(
                fields=["prompt", "policy", "text_hash"], condition=models.Q(run=None), name="completion_imported_once"
            ),
            models.CheckConstraint(
                condition=models.Q(run=None, k=None, seed=None)
                | models.Q(run__isnull=False, k__isnull=False, seed__isnull=False),
                name="completion_sampled_has_provenance",
            ),
        ]
