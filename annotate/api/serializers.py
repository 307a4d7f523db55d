"""JSON into values and rows into JSON. Nothing here saves: the views hand the values to the actions of the pages."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotate.accounts.models import Cohort
from annotate.pools.importers.fields import holds_text
from annotate.pools.models import MAX_PRIORITY, Category, Kind, Pool, Prompt, Source, Split
from annotate.rankings.models import MOST_AHEAD, Pointer
from annotate.rankings.rules import MOST, Share
from annotate.rankings.stock import Supply
from annotate.samples import queries as sampled
from annotate.samples.forms import MOST_STOPS, draw_seed
from annotate.samples.models import Completion, Origin, Policy, SampleRun, ServerProbe, Stage
from annotate.samples.rules import BadExamples, canonical_examples
from annotate.work import queries as worked
from annotate.work.models import Campaign, Skip, Task, Workflow
from annotate.work.states import CampaignState


class PoolSerializer(serializers.ModelSerializer[Pool]):
    class Meta:
        model = Pool
        fields = ["id", "name", "description", "created_at"]
        read_only_fields = ["created_at"]


class MessageSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=["system", "user", "assistant"])
    content = serializers.CharField(trim_whitespace=False)


class PromptSerializer(serializers.ModelSerializer[Prompt]):
    split = serializers.CharField(source="group.split")
    group = serializers.CharField(source="group.key")
    messages = MessageSerializer(many=True)

    class Meta:
        model = Prompt
        fields = [
            "id",
            "pool",
            "messages",
            "kind",
            "source",
            "source_user",
            "category",
            "language",
            "licence",
            "external_id",
            "priority",
            "group",
            "split",
            "parent",
            "reference",
            "created_at",
            "quarantined_at",
            "quarantine_reason",
            "quarantine_twin",
            "quarantine_decided_at",
        ]


class PromptFilters(serializers.Serializer[Any]):
    """What a list of prompts is narrowed down by."""

    pool = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    split = serializers.ChoiceField(required=False, choices=Split.choices)
    quarantined = serializers.BooleanField(
        required=False,
        allow_null=True,
        default=None,
        help_text=_("true: only those in quarantine; false: only others"),
    )
    q = serializers.CharField(required=False, allow_blank=True, max_length=200, help_text=_("words of the text"))


class ReleaseSerializer(serializers.Serializer[Any]):
    instead = serializers.BooleanField(
        default=False, help_text=_("put the equal prompts of the other side into quarantine in its place")
    )


class NewPromptSerializer(serializers.Serializer[Any]):
    pool = serializers.PrimaryKeyRelatedField(queryset=Pool.objects.all())
    messages = MessageSerializer(many=True, allow_empty=False)
    kind = serializers.ChoiceField(choices=Kind.choices, default=Kind.PLAIN)
    source = serializers.ChoiceField(choices=Source.choices)  # type: ignore[assignment]  # a field named as Field.source
    source_user = serializers.CharField(max_length=200, default="", allow_blank=True)
    category = serializers.ChoiceField(choices=Category.choices, default="", allow_blank=True)
    language = serializers.CharField(max_length=16, default="en")
    licence = serializers.CharField(max_length=100, default="", allow_blank=True)
    external_id = serializers.CharField(max_length=200, default="", allow_blank=True)
    priority = serializers.IntegerField(default=0, min_value=-MAX_PRIORITY, max_value=MAX_PRIORITY)
    ignore = serializers.ListField(
        child=serializers.CharField(), default=list, help_text=_("fields to leave out although they hold text")
    )

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse fields that hold text and that nobody reads, unless the request says to leave them out."""
        given = dict(self.initial_data.items())
        unread = {name: value for name, value in given.items() if name not in self.fields}
        for message in given["messages"]:
            unread |= {f"messages.{name}": text for name, text in message.items() if name not in ("role", "content")}
        ignore = values.pop("ignore")
        lost = [name for name, value in unread.items() if name not in ignore and holds_text(value)]
        if lost:
            problem = _("This field would be left out. Remove it, or name it in “ignore”.")
            raise serializers.ValidationError({name: [problem] for name in lost})
        if needed := [name for name in ("pool", "messages", "source") if name in ignore]:
            problem = _("This field is needed. Remove it from “ignore”.")
            raise serializers.ValidationError({name: [problem] for name in needed})
        return {name: value for name, value in values.items() if name not in ignore}


class CompletionSerializer(serializers.ModelSerializer[Completion]):
    class Meta:
        model = Completion
        fields = [
            "id",
            "policy",
            "run",
            "k",
            "text",
            "token_count",
            "finish_reason",
            "seed",
            "attempt",
            "parameters",
            "policy_revision",
            "checkpoint_hash",
            "provenance",
            "created_at",
        ]


class ProbeSerializer(serializers.ModelSerializer[ServerProbe]):
    """What was found out about the server of a policy."""

    class Meta:
        model = ServerProbe
        fields = ["state", "stage", "findings", "found_at", "error", "asked_at"]


class PolicySerializer(serializers.ModelSerializer[Policy]):
    # What a policy is, is said and not assumed.
    revision = serializers.CharField(max_length=120)
    stage = serializers.ChoiceField(choices=Stage.choices)
    origin = serializers.ChoiceField(choices=Origin.choices)
    examples = MessageSerializer(many=True, default=list)
    reproducible = serializers.BooleanField(
        read_only=True, allow_null=True, help_text=_("whether the same seed gives the same completion; null: not known")
    )
    probe = ProbeSerializer(read_only=True, default=None)

    class Meta:
        model = Policy
        fields = [
            "id",
            "name",
            "revision",
            "stage",
            "origin",
            "location",
            "served_model",
            "endpoint",
            "key_name",
            "adapter",
            "chat_template",
            "examples",
            "dtype",
            "quantisation",
            "unsafe_weights",
            "needs_gpu",
            "reproducible",
            "probe",
            "created_at",
        ]
        read_only_fields = ["created_at"]

    def validate_examples(self, examples: Any) -> Any:
        try:
            return canonical_examples(examples)
        except BadExamples as bad:
            raise serializers.ValidationError(str(bad)) from bad


class ProgressOfRun(serializers.Serializer[sampled.Progress]):
    """Prompts by state and what is stored of them; the pace is null until something was written."""

    waiting = serializers.IntegerField()
    leased = serializers.IntegerField()
    done = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    completions_wanted = serializers.IntegerField()
    completions = serializers.IntegerField()
    resampled = serializers.IntegerField()
    tokens = serializers.IntegerField()
    tokens_per_second = serializers.FloatField(allow_null=True)
    seconds_left = serializers.FloatField(allow_null=True)


class RunSerializer(serializers.ModelSerializer[SampleRun]):
    temperature = serializers.FloatField(default=1.0, min_value=0, max_value=5)
    top_p = serializers.FloatField(default=1.0, min_value=0.01, max_value=1)
    max_new_tokens = serializers.IntegerField(default=128, min_value=1, max_value=2**31 - 1)
    stop = serializers.ListField(
        child=serializers.CharField(max_length=100, trim_whitespace=False), default=list, max_length=MOST_STOPS
    )
    seed = serializers.IntegerField(default=draw_seed, min_value=0, max_value=2**63 - 1)
    progress = serializers.SerializerMethodField()

    class Meta:
        model = SampleRun
        fields = [
            "id",
            "pool",
            "policy",
            "k",
            "temperature",
            "top_p",
            "max_new_tokens",
            "stop",
            "seed",
            "keep_tokens",
            "resample_cut_off",
            "state",
            "created_at",
            "finished_at",
            "progress",
        ]
        read_only_fields = ["state", "created_at", "finished_at"]

    @extend_schema_field(ProgressOfRun)
    def get_progress(self, run: SampleRun) -> Any:
        known = self.context.get("progress", {})
        return ProgressOfRun(known.get(run.id) or sampled.progress([run], now=timezone.now())[run.id]).data


class ProgressOfCampaign(serializers.Serializer[worked.Progress]):
    """Answers wanted, by state."""

    open = serializers.IntegerField()
    leased = serializers.IntegerField()
    submitted = serializers.IntegerField()
    accepted = serializers.IntegerField()
    sent_back = serializers.IntegerField()
    stopped = serializers.IntegerField()
    held = serializers.IntegerField(help_text="of tasks whose prompts are in quarantine; not in the total")
    total = serializers.IntegerField()


class CampaignSerializer(serializers.ModelSerializer[Campaign]):
    cohorts = serializers.MultipleChoiceField(choices=Cohort.choices, required=False)
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Campaign
        fields = [
            "id",
            "name",
            "workflow",
            "pool",
            "guideline",
            "overlap",
            "order",
            "order_seed",
            "lease_minutes",
            "undo_minutes",
            "skip_limit",
            "review_percent",
            "cohorts",
            "labelers",
            "qualifications",
            "slate_min",
            "slate_max",
            "policies",
            "target_pool",
            "rewrite_pool",
            "state",
            "created_at",
            "opened_at",
            "closed_at",
            "progress",
        ]
        read_only_fields = ["state", "created_at", "opened_at", "closed_at"]

    @extend_schema_field(ProgressOfCampaign)
    def get_progress(self, campaign: Campaign) -> Any:
        known = self.context.get("progress", {})
        return ProgressOfCampaign(known.get(campaign.id) or worked.progress([campaign])[campaign.id]).data

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        fewest = values.get("slate_min", self.instance.slate_min if self.instance else 4)
        most = values.get("slate_max", self.instance.slate_max if self.instance else 9)
        if fewest > most:
            raise serializers.ValidationError({"slate_max": _("It cannot be less than slate_min.")})
        workflow = values.get("workflow", self.instance.workflow if self.instance else "")
        if self.instance and "workflow" in values and values["workflow"] != self.instance.workflow:
            raise serializers.ValidationError({"workflow": _("The kind of work never changes.")})
        target = values.get("target_pool", self.instance.target_pool if self.instance else None)
        if workflow == Workflow.EDITS and target is None:
            raise serializers.ValidationError({"target_pool": _("Name the pool that accepted instructions go to.")})
        if "cohorts" in values:
            values["cohorts"] = sorted(values["cohorts"])
        return values


class ShareSerializer(serializers.Serializer[Any]):
    """A part of a mix: a policy, or a stage with "current" or "previous"."""

    policy = serializers.PrimaryKeyRelatedField(queryset=Policy.objects.all(), allow_null=True, default=None)
    pointer = serializers.ChoiceField(choices=Pointer.choices, allow_blank=True, default="")
    stage = serializers.ChoiceField(choices=Stage.choices, allow_blank=True, default="")
    count = serializers.IntegerField(min_value=1, max_value=MOST)
    temperature = serializers.FloatField(default=1.0, min_value=0, max_value=5)
    top_p = serializers.FloatField(default=1.0, min_value=0.01, max_value=1)
    max_new_tokens = serializers.IntegerField(default=128, min_value=1, max_value=2**31 - 1)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        named, pointed = bool(values["policy"]), bool(values["pointer"]) and bool(values["stage"])
        if named == pointed or (named and (values["pointer"] or values["stage"])):
            raise serializers.ValidationError(_("Name a policy, or a stage and one of its pointers."))
        return values


class SlatesSerializer(serializers.Serializer[Any]):
    """How a campaign's slates stand; of prompts without one how many there are by reason."""

    ready = serializers.IntegerField()
    sampling = serializers.IntegerField()
    retired = serializers.IntegerField()
    none = serializers.SerializerMethodField()

    def get_none(self, supply: Supply) -> dict[str, int]:
        return {why.value: number for why, number in supply.none}


class MixSerializer(serializers.Serializer[Any]):
    """What a ranking campaign's slates are sampled from; no parts: it ranks the completions that are there."""

    parts = ShareSerializer(many=True)
    low = serializers.IntegerField(source="mix.low", default=20, min_value=1, max_value=MOST_AHEAD)
    high = serializers.IntegerField(source="mix.high", default=60, min_value=1, max_value=MOST_AHEAD)
    renew = serializers.BooleanField(source="mix.renew", default=False)
    cut_off_allowed = serializers.BooleanField(source="mix.cut_off_allowed", default=True)
    seed = serializers.IntegerField(
        source="mix.seed", default=draw_seed, min_value=0, max_value=2**63 - 1, help_text=_("fixed with the first mix")
    )
    supply = SlatesSerializer(read_only=True)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        parts = [{**part, "policy_id": part["policy"] and part["policy"].id} for part in values["parts"]]
        shares = [Share(**{name: value for name, value in part.items() if name != "policy"}) for part in parts]
        return {"shares": shares, **values["mix"]}


class SkipSerializer(serializers.ModelSerializer[Skip]):
    class Meta:
        model = Skip
        fields = ["labeler", "reason", "note", "skipped_at"]


class StoppedTaskSerializer(serializers.ModelSerializer[Task]):
    """A task that waits for a manager because so many people skipped it."""

    skips = SkipSerializer(many=True)

    class Meta:
        model = Task
        fields = ["id", "prompt", "stopped_at", "skips"]


class StateSerializer(serializers.Serializer[Any]):
    to = serializers.ChoiceField(choices=CampaignState.choices)
