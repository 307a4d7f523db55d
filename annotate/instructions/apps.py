from django.apps import AppConfig


class InstructionsConfig(AppConfig):
    name = "annotate.instructions"
    # The database has tables and migrations under the package's former name.
    label = "edits"
