from annotate.lib.admin import show
from annotate.rankings.models import (
    Candidate,
    Mix,
    MixPart,
    MixVersion,
    Placing,
    Portion,
    Ranking,
    RankingSettings,
    Showing,
    Slate,
)

show(RankingSettings, Mix, MixPart, MixVersion, Portion, Slate, Candidate, Showing, Ranking, Placing)
