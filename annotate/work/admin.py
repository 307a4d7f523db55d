from annotate.lib.admin import show
from annotate.work.models import Assignment, Campaign, Draft, Event, PageVisit, Seat, Skip, Stopwatch, Task

show(Campaign, Task, Assignment, Seat, Draft, Skip, PageVisit, Stopwatch, Event)
