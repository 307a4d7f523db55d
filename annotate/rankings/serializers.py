from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from annotate.lib.strict import KeyField, StrictSerializer
from annotate.rankings.models import MAX_AHEAD, Pointer, RankingSettings
from annotate.rankings.rules import MAX_CANDIDATES, Share
from annotate.rankings.slate_queries import SlateCounts
from annotate.samples.forms import draw_seed
from annotate.samples.models import Policy, Stage
from annotate.samples.spec import MAX_NEW_TOKENS, SEED, TEMPERATURE, TOP_P

POLICY_OR_POINTER = _("Give either a policy, or a stage and a pointer.")
SLATE_BOUNDS = _("slate_max cannot be less than slate_min.")


class RankingSettingsSerializer(serializers.ModelSerializer[RankingSettings]):
    serializer_related_field = KeyField

    class Meta:
        model = RankingSettings
        fields = ["slate_min", "slate_max", "policies"]

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        low = values.get("slate_min", self.instance.slate_min if self.instance else 4)
        high = values.get("slate_max", self.instance.slate_max if self.instance else 9)
        if low > high:
            raise serializers.ValidationError({"slate_max": [SLATE_BOUNDS]})
        return values


class ShareSerializer(StrictSerializer):
    """A part of a mix: completions of a policy, or of the current or previous policy of a stage."""

    policy = KeyField(queryset=Policy.objects.all(), allow_null=True, default=None)
    pointer = serializers.ChoiceField(choices=Pointer.choices, allow_blank=True, default="")
    stage = serializers.ChoiceField(choices=Stage.choices, allow_blank=True, default="")
    count = serializers.IntegerField(min_value=1, max_value=MAX_CANDIDATES)
    temperature = serializers.FloatField(default=TEMPERATURE.default, **TEMPERATURE.limits)
    top_p = serializers.FloatField(default=TOP_P.default, **TOP_P.limits)
    max_new_tokens = serializers.IntegerField(default=MAX_NEW_TOKENS.default, **MAX_NEW_TOKENS.limits)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        named, pointed = bool(values["policy"]), bool(values["pointer"]) and bool(values["stage"])
        if named == pointed or (named and (values["pointer"] or values["stage"])):
            raise serializers.ValidationError(POLICY_OR_POINTER)
        return values


class SlatesSerializer(serializers.Serializer[SlateCounts]):
    """The slates of a campaign by state, and the prompts without a slate by reason."""

    ready = serializers.IntegerField()
    sampling = serializers.IntegerField()
    retired = serializers.IntegerField()
    none = serializers.SerializerMethodField()

    def get_none(self, supply: SlateCounts) -> dict[str, int]:
        return {why.value: number for why, number in supply.none}


class MixSerializer(StrictSerializer):
    """What the slates of a ranking campaign are sampled from. Without parts it ranks existing completions."""

    parts = ShareSerializer(many=True)
    low = serializers.IntegerField(source="mix.low", default=20, min_value=1, max_value=MAX_AHEAD)
    high = serializers.IntegerField(source="mix.high", default=60, min_value=1, max_value=MAX_AHEAD)
    renew = serializers.BooleanField(source="mix.renew", default=False)
    cut_off_allowed = serializers.BooleanField(source="mix.cut_off_allowed", default=True)
    seed = serializers.IntegerField(
        source="mix.seed",
        default=draw_seed,
        **SEED.limits,
        help_text=_("the first mix sets it; later values are ignored"),
    )
    supply = SlatesSerializer(read_only=True)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        parts = [{**part, "policy_id": part["policy"] and part["policy"].id} for part in values["parts"]]
        shares = [Share(**{name: value for name, value in part.items() if name != "policy"}) for part in parts]
        return {"shares": shares, **values["mix"]}
