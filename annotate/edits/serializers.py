from rest_framework import serializers

from annotate.edits.models import InstructionSettings


class InstructionSettingsSerializer(serializers.ModelSerializer[InstructionSettings]):
    class Meta:
        model = InstructionSettings
        fields = ["target_pool", "rewrite_pool"]
