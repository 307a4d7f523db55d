from annotate.lib.admin import show
from annotate.rankings.models import Candidate, Mix, MixPart, MixVersion, Placing, Portion, Ranking, Showing, Slate

show(Mix, MixPart, MixVersion, Portion, Slate, Candidate, Showing, Ranking, Placing)
