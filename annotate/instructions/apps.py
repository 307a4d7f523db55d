from django.apps import AppConfig


class InstructionsConfig(AppConfig):
    name = "annotate.instructions"
    # Tables and migrations use the former name of this package.
    label = "edits"
