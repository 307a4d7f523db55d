"""Turn JSON into values, and rows into JSON. Serializers save nothing: views pass the values to actions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotate.accounts.models import Cohort, User
from annotate.lib.strict import KeyField, unknown_fields
from annotate.pools.importers.fields import holds_text
from annotate.pools.models import MAX_PRIORITY, Category, Kind, Pool, Prompt, Source, Split
from annotate.pools.rules import Message
from annotate.samples import queries as sampled
from annotate.samples.forms import MAX_STOPS, draw_seed
from annotate.samples.models import Completion, Policy, SampleRun, ServerProbe
from annotate.samples.rules import BadExamples, canonical_examples
from annotate.samples.spec import FIELDS, MAX_NEW_TOKENS, REQUIRED, SEED, TEMPERATURE, TOP_P
from annotate.work import queries as worked
from annotate.work.models import Campaign, Skip, Task
from annotate.work.states import CampaignState
from annotate.work.workflow import Workflow
from annotate.workflows.actions import settings_of
from annotate.workflows.table import WORKFLOWS, workflow_of

Values = dict[str, Any]

NOT_STORED = _("This field is not stored. Remove it, or name it in “ignore” to leave it out.")
NOT_IGNORABLE = _("This field is required. Remove it from “ignore”.")
WORKFLOW_FIXED = _("The workflow of a campaign cannot change. Create another campaign.")
STATE_ELSEWHERE = _("This request does not change the state. Send the new state to /campaigns/{id}/state/.")


class PoolSerializer(serializers.ModelSerializer[Pool]):
    class Meta:
        model = Pool
        fields = ["id", "name", "description", "created_at"]
        read_only_fields = ["created_at"]


class MessageSerializer(serializers.Serializer[object]):
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


class PromptFilters(serializers.Serializer[object]):
    """The query of a list of prompts."""

    pool = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    split = serializers.ChoiceField(required=False, choices=Split.choices)
    quarantined = serializers.BooleanField(
        required=False,
        allow_null=True,
        default=None,
        help_text=_("true: only prompts in quarantine; false: only other prompts"),
    )
    q = serializers.CharField(required=False, allow_blank=True, max_length=200, help_text=_("words of the text"))


class ReleaseSerializer(serializers.Serializer[object]):
    instead = serializers.BooleanField(
        default=False, help_text=_("put the equal prompts on the other side of the split into quarantine instead")
    )


class NewPromptSerializer(serializers.Serializer[object]):
    pool = KeyField(queryset=Pool.objects.all())
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
        child=serializers.CharField(), default=list, help_text=_("names of fields that hold text and are left out")
    )

    def validate(self, values: Values) -> Values:
        """Refuse unknown fields that hold text, unless `ignore` names them: their text would be lost silently."""
        given = dict(self.initial_data.items())
        unread = {name: value for name, value in given.items() if name not in self.fields}
        for message in given["messages"]:
            unread |= {f"messages.{name}": text for name, text in message.items() if name not in ("role", "content")}
        ignore = values.pop("ignore")
        lost = [name for name, value in unread.items() if name not in ignore and holds_text(value)]
        if lost:
            raise serializers.ValidationError({name: [NOT_STORED] for name in lost})
        if needed := [name for name in ("pool", "messages", "source") if name in ignore]:
            raise serializers.ValidationError({name: [NOT_IGNORABLE] for name in needed})
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
    """The findings about a policy's server."""

    class Meta:
        model = ServerProbe
        fields = ["state", "stage", "findings", "found_at", "error", "asked_at"]


class PolicySerializer(serializers.ModelSerializer[Policy]):
    # Declared here, because DRF would give it the column's default as a part of a unique constraint.
    revision = serializers.CharField(max_length=FIELDS["revision"].max_length)
    examples = MessageSerializer(many=True, default=list)
    reproducible = serializers.BooleanField(
        read_only=True, allow_null=True, help_text=_("whether the same seed gives the same completion; null: not known")
    )
    probe = ProbeSerializer(read_only=True, default=None)

    class Meta:
        model = Policy
        # The action says that a policy exists already, and what to do.
        validators: ClassVar[list[object]] = []
        fields = ["id", *FIELDS, "reproducible", "probe", "created_at"]
        extra_kwargs: dict[str, Values] = {
            **{name: {"help_text": about.help} for name, about in FIELDS.items()},
            # Forms have suggestions for these.
            **{name: {"required": True} for name in REQUIRED if name != "revision"},
        }
        read_only_fields = ["created_at"]

    def validate_examples(self, examples: object) -> list[Message]:
        try:
            return canonical_examples(examples)
        except BadExamples as bad:
            raise serializers.ValidationError(str(bad)) from bad


class ProgressOfRun(serializers.Serializer[sampled.Progress]):
    """Prompts by state, and their completions. Pace and time left are null until a completion is stored."""

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
    serializer_related_field = KeyField
    temperature = serializers.FloatField(default=TEMPERATURE.default, **TEMPERATURE.limits)
    top_p = serializers.FloatField(default=TOP_P.default, **TOP_P.limits)
    max_new_tokens = serializers.IntegerField(default=MAX_NEW_TOKENS.default, **MAX_NEW_TOKENS.limits)
    stop = serializers.ListField(
        child=serializers.CharField(max_length=100, trim_whitespace=False), default=list, max_length=MAX_STOPS
    )
    seed = serializers.IntegerField(default=draw_seed, **SEED.limits)
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
    def get_progress(self, run: SampleRun) -> Values:
        known = self.context.get("progress", {})
        return ProgressOfRun(known.get(run.id) or sampled.progress([run], now=timezone.now())[run.id]).data


class ProgressOfCampaign(serializers.Serializer[worked.Progress]):
    """The slots of a campaign, by state."""

    open = serializers.IntegerField()
    leased = serializers.IntegerField()
    submitted = serializers.IntegerField()
    accepted = serializers.IntegerField()
    sent_back = serializers.IntegerField()
    stopped = serializers.IntegerField()
    held = serializers.IntegerField(help_text=_("slots of tasks whose prompts are in quarantine; not in the total"))
    total = serializers.IntegerField()


class NamedLabelers(KeyField[User]):
    """The same people as on the page of the campaign."""

    def get_queryset(self) -> QuerySet[User]:
        campaign = self.root.instance
        return worked.may_be_named(campaign if isinstance(campaign, Campaign) else None)


class CampaignSerializer(serializers.ModelSerializer[Campaign]):
    """A campaign, with the settings of its own workflow beside its columns."""

    serializer_related_field = KeyField
    labelers = NamedLabelers(many=True, required=False, queryset=User.objects.none())

    workflow = serializers.ChoiceField(choices=[(workflow.key, workflow.label) for workflow in WORKFLOWS.values()])
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
            "state",
            "created_at",
            "opened_at",
            "closed_at",
            "progress",
        ]
        read_only_fields = ["state", "created_at", "opened_at", "closed_at"]

    @extend_schema_field(ProgressOfCampaign)
    def get_progress(self, campaign: Campaign) -> Values:
        known = self.context.get("progress", {})
        return ProgressOfCampaign(known.get(campaign.id) or worked.progress([campaign])[campaign.id]).data

    def to_internal_value(self, data: Mapping[str, object]) -> Values:
        """The campaign's columns, and as `settings` what the serializer of its workflow reads."""
        problems: Values = {}
        values: Values = {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as invalid:
            if not isinstance(data, Mapping) or not isinstance(invalid.detail, dict):
                raise
            problems = {**invalid.detail}
        named = values.get("workflow") or data.get("workflow", "")
        workflow = WORKFLOWS.get(self.instance.workflow if self.instance else str(named))
        if workflow is None:
            raise serializers.ValidationError(problems)
        problems |= self._misplaced(workflow, data)
        if workflow.settings_serializer:
            known = settings_of(self.instance) if self.instance else None
            form = workflow.settings_serializer(known, data=data, partial=self.partial)
            if form.is_valid():
                values["settings"] = form.validated_data
            problems |= form.errors
        if problems:
            raise serializers.ValidationError(problems)
        return values

    def _misplaced(self, workflow: Workflow, data: Mapping[str, object]) -> Values:
        """Errors for names that this request cannot change."""
        own = self.fields.keys() | settings_fields(workflow)
        problems: Values = {**unknown_fields(data, own)}
        for other in WORKFLOWS.values():
            words = _("This is a setting of another workflow: %(workflow)s. Remove it.") % {"workflow": other.label}
            problems |= {name: [words] for name in settings_fields(other) - own if name in data}
        if self.instance and data.get("workflow", workflow.key) != workflow.key:
            problems["workflow"] = [WORKFLOW_FIXED]
        # Other fields that are only read may come back as they were read.
        if data.get("state", before := self.instance.state if self.instance else CampaignState.DRAFT) != before:
            problems["state"] = [STATE_ELSEWHERE]
        return problems

    def to_representation(self, campaign: Campaign) -> Values:
        shown: Values = super().to_representation(campaign)
        serializer = workflow_of(campaign).settings_serializer
        return shown | (serializer(settings_of(campaign)).data if serializer else {})

    def validate(self, values: Values) -> Values:
        if "cohorts" in values:
            values["cohorts"] = sorted(values["cohorts"])
        return values


def settings_fields(workflow: Workflow) -> set[str]:
    return set(workflow.settings_serializer().get_fields()) if workflow.settings_serializer else set()


class SkipSerializer(serializers.ModelSerializer[Skip]):
    class Meta:
        model = Skip
        fields = ["labeler", "reason", "note", "skipped_at"]


class StoppedTaskSerializer(serializers.ModelSerializer[Task]):
    """A task that waits for a manager, because as many people as the campaign allows have skipped it."""

    skips = SkipSerializer(many=True)

    class Meta:
        model = Task
        fields = ["id", "prompt", "stopped_at", "skips"]


class StateSerializer(serializers.Serializer[object]):
    to = serializers.ChoiceField(choices=CampaignState.choices)
