from annotate.lib.admin import show
from annotate.rankings.models import Candidate, Placing, Ranking, Showing

show(Candidate, Showing, Ranking, Placing)
