from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from annotate.instructions.models import InstructionSettings
from annotate.lib.strict import KeyField

NO_TARGET = _("Give the id of the pool that accepted instructions go to.")


class InstructionSettingsSerializer(serializers.ModelSerializer[InstructionSettings]):
    serializer_related_field = KeyField

    class Meta:
        model = InstructionSettings
        fields = ["target_pool", "rewrite_pool"]
        extra_kwargs = {"target_pool": {"error_messages": {"required": NO_TARGET}}}
