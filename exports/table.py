from annotate.work.models import Campaign
from exports.rows import demonstrations, instructions, ppo, rankings
from exports.workflow import WorkflowExport

EXPORTS: tuple[WorkflowExport, ...] = (
    demonstrations.EXPORT,
    rankings.EXPORT,
    instructions.EXPORT,
)

# Several workflows may write to one file. PPO prompts come from pools.
FILES = tuple(dict.fromkeys([*(file for export in EXPORTS for file in export.files), ppo.FILE]))
CONTENTS = (*(export.contents for export in EXPORTS), ppo.CONTENTS)
STATISTICS = tuple(dict.fromkeys([*(number for export in EXPORTS for number in export.statistics), ppo.STATISTIC]))


def export_of(campaign: Campaign) -> WorkflowExport:
    return next(export for export in EXPORTS if export.key == campaign.workflow)
