from annotate.instructions.models import Brief, Instruction, InstructionSettings
from annotate.lib.admin import show

show(InstructionSettings, Brief, Instruction)
