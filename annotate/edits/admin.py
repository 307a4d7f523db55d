from annotate.edits.models import Brief, Instruction
from annotate.lib.admin import show

show(Brief, Instruction)
