from annotate.lib.admin import show
from annotate.pools.models import ExampleText, ImportJob, ImportLine, Pool, Prompt, PromptGroup, QuarantineEvent

show(Pool, PromptGroup, Prompt, ExampleText, QuarantineEvent, ImportJob, ImportLine)
