from annotate.lib.admin import show
from exports.models import Export

show(Export)
