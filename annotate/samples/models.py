from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.pools.models import Pool, Prompt
from annotate.samples.states import ProbeState, RequestState, RunState


class Stage(models.TextChoices):
    BASE = "base", _("Base")
    SFT = "sft", _("SFT")
    PPO = "ppo", _("PPO")


class Origin(models.TextChoices):
    LOCAL = "local", _("Folder on the worker")
    HUB = "hub", _("Model hub id")
    # Asked over HTTP; its weights are known by the name it serves them under.
    SERVER = "server", _("Server with an OpenAI-compatible API")
    # Its completions were made elsewhere and imported: known by name only, never sampled here.
    IMPORTED = "imported", _("Imported completions")


# Whose weights a worker loads itself.
CHECKPOINTS = (Origin.LOCAL, Origin.HUB)


class Dtype(models.TextChoices):
    AUTO = "auto", _("Automatic")
    FLOAT32 = "float32", "float32"
    BFLOAT16 = "bfloat16", "bfloat16"
    FLOAT16 = "float16", "float16"


class Endpoint(models.TextChoices):
    CHAT = "chat", _("Chat: the server applies the template")
    COMPLETIONS = "completions", _("Completions: the text is made here")


class Quantisation(models.TextChoices):
    NONE = "none", _("None")
    INT8 = "int8", _("8 bits (int8)")
    NF4 = "nf4", _("4 bits (nf4)")


class Policy(models.Model):
    """A model that writes completions. A row never changes its weights: a new checkpoint is a new revision."""

    name = models.CharField(_("name"), max_length=120)
    revision = models.CharField(_("revision"), max_length=120, default="1")
    stage = models.CharField(_("stage"), max_length=8, choices=Stage.choices, default=Stage.SFT)
    origin = models.CharField(_("origin"), max_length=16, choices=Origin.choices, default=Origin.LOCAL)
    location = models.CharField(_("folder, hub id or address"), max_length=500, blank=True)
    served_model = models.CharField(_("model on the server"), max_length=200, blank=True)
    endpoint = models.CharField(_("how the server is asked"), max_length=16, choices=Endpoint.choices, blank=True)
    # Which of the worker's keys is sent; never the key.
    key_name = models.CharField(_("name of the key"), max_length=100, blank=True)
    adapter = models.CharField(_("adapter"), max_length=500, blank=True)
    chat_template = models.TextField(_("chat template"), blank=True)
    # Messages that stand before every prompt: examples, and what a system message would say.
    examples = models.JSONField(_("few-shot examples"), default=list, blank=True)
    dtype = models.CharField(_("dtype"), max_length=16, choices=Dtype.choices, default=Dtype.AUTO)
    quantisation = models.CharField(
        _("quantisation"), max_length=8, choices=Quantisation.choices, default=Quantisation.NONE
    )
    unsafe_weights = models.BooleanField(_("load weights that are not safetensors"), default=False)
    # Workers without one leave its runs to others.
    needs_gpu = models.BooleanField(_("needs a GPU"), default=False)
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
        """Does the same seed give the same completion? None where that is not known."""
        if self.origin == Origin.SERVER:
            probe: ServerProbe | None = getattr(self, "probe", None)
            return probe.findings.get("seed") if probe else None
        return True if self.origin in CHECKPOINTS else None


class ServerProbe(models.Model):
    """What a policy's server can do: asked by a manager, found out by a worker. Asked again, it begins anew.

    findings are those of the last probe that came to its end, at found_at; an error is of the one after.
    """

    policy = models.OneToOneField(Policy, on_delete=models.CASCADE, related_name="probe")
    state = models.CharField(max_length=16, choices=ProbeState.choices, default=ProbeState.WAITING)
    # How many of its stages are over.
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
    """The pointer a manager moves: which policy of a stage new sampling runs use."""

    stage = models.CharField(max_length=8, choices=Stage.choices, unique=True)
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="+")
    # Where it stood before it was moved.
    previous = models.ForeignKey(Policy, on_delete=models.PROTECT, null=True, related_name="+")
    moved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    moved_at = models.DateTimeField()


class SampleRun(models.Model):
    """K completions asked of one policy for every prompt of a pool (or for those a campaign wants)."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="runs")
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="runs")
    k = models.PositiveSmallIntegerField(
        _("completions per prompt"), validators=[MinValueValidator(1), MaxValueValidator(64)]
    )
    temperature = models.FloatField(
        _("temperature"), default=1.0, validators=[MinValueValidator(0), MaxValueValidator(5)]
    )
    top_p = models.FloatField(_("top-p"), default=1.0, validators=[MinValueValidator(0.01), MaxValueValidator(1)])
    max_new_tokens = models.PositiveIntegerField(_("most new tokens"), default=128, validators=[MinValueValidator(1)])
    stop = models.JSONField(_("stop strings"), default=list)
    seed = models.BigIntegerField(_("seed"))
    keep_tokens = models.BooleanField(_("keep token ids and logprobs"), default=False)
    resample_cut_off = models.BooleanField(_("sample cut-off completions anew"), default=False)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.RUNNING)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(k__gte=1, k__lte=64), name="samplerun_k_1_to_64"),
            models.CheckConstraint(
                condition=models.Q(state=RunState.RUNNING, finished_at=None)
                | (~models.Q(state=RunState.RUNNING) & models.Q(finished_at__isnull=False)),
                name="samplerun_finished_when_not_running",
            ),
        ]


class SampleRequest(models.Model):
    """One prompt of a run. Its lease says which worker samples it until when; its end gives the prompt to the next."""

    run = models.ForeignKey(SampleRun, on_delete=models.CASCADE, related_name="requests")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="sample_requests")
    state = models.CharField(
        max_length=16, choices=RequestState.choices, default=RequestState.WAITING, db_default=RequestState.WAITING
    )
    leased_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, blank=True, default="", db_default="")
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    # Completions wanted beyond the run's K, in place of some that were not worth showing.
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
            # The claim: the oldest unsampled prompt of a run.
            models.Index(
                fields=["run", "id"], condition=models.Q(state=RequestState.WAITING), name="samplerequest_waiting"
            ),
            # The sweep: leases of workers that died.
            models.Index(
                fields=["leased_until"], condition=models.Q(state=RequestState.LEASED), name="samplerequest_leased"
            ),
            # Is anything still on its way for this prompt?
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
    """What a policy wrote, with all that is needed to write it again. Never changed once stored."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="completions")
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="completions")
    run = models.ForeignKey(SampleRun, on_delete=models.PROTECT, null=True, related_name="completions")
    k = models.PositiveSmallIntegerField(null=True)
    text = models.TextField()
    text_hash = models.CharField(max_length=64, help_text=_("sha256 of the normalised text"))
    # None where a server did not count them, and for an import.
    token_count = models.PositiveIntegerField(null=True)
    finish_reason = models.CharField(max_length=16, choices=FinishReason.choices)
    seed = models.BigIntegerField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    # temperature, top_p, max_new_tokens, stop; for an import what the file said.
    parameters = models.JSONField(default=dict)
    policy_revision = models.CharField(max_length=120)
    checkpoint_hash = models.CharField(max_length=64, blank=True)
    # Engine, library versions, device, dtype, quantisation, hashes of adapter, template and rendered prompt, tokens cut
    # from the prompt; token ids and logprobs where the run keeps them.
    provenance = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # A killed worker starts again where it was; whatever it stored before is not stored twice.
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
