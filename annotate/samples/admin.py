from django.contrib import admin

from annotate.lib.admin import Emergency, show
from annotate.samples.models import Completion, CurrentPolicy, Policy, SampleRequest, SampleRun, ServerProbe

show(CurrentPolicy, ServerProbe, SampleRun, SampleRequest, Completion)


@admin.register(Policy)
class PolicyAdmin(Emergency):
    # The same weights may be moved to another folder.

    mendable = ("location",)
