"""Columns in SQL, and model objects from rows."""

from annotate.lib.prepared import Shape
from annotate.work.models import Assignment, Campaign, Draft

SLOT, CAMPAIGN, DRAFT = Shape(Assignment, "slot"), Shape(Campaign, "campaign"), Shape(Draft, "draft")
