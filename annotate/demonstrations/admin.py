from annotate.demonstrations.models import Demonstration
from annotate.lib.admin import show

show(Demonstration)
