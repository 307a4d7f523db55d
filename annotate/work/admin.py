from annotate.lib.admin import show
from annotate.work.models import Assignment, Campaign, Draft, Event, Seat, Skip, Task

show(Campaign, Task, Assignment, Seat, Draft, Skip, Event)
