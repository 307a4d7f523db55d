from annotate.instructions.models import Brief, Instruction
from annotate.lib.admin import show

show(Brief, Instruction)
