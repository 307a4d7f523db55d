from annotate.lib.admin import show
from annotate.work.models import Assignment, Campaign, Draft, Event, Seat, Sitting, Skip, Stopwatch, Task

show(Campaign, Task, Assignment, Seat, Draft, Skip, Sitting, Stopwatch, Event)
