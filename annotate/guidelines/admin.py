from annotate.guidelines.models import Acknowledgement, Guideline, GuidelineVersion
from annotate.lib.admin import show

show(Guideline, GuidelineVersion, Acknowledgement)
