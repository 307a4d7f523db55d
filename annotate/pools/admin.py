from annotate.lib.admin import show
from annotate.pools.models import ImportJob, ImportLine, Pool, Prompt, PromptGroup

show(Pool, PromptGroup, Prompt, ImportJob, ImportLine)
