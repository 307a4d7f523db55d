from django.urls import URLPattern, URLResolver, include, path

from annotate.desk.views import answers, home, tasks
from annotate.workflows.table import WORKFLOWS

app_name = "desk"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("campaigns/<int:campaign_id>/next/", home.next_task, name="next"),
    path("campaigns/<int:campaign_id>/ahead/", tasks.ahead, name="ahead"),
    path("campaigns/<int:campaign_id>/guideline/", home.guideline, name="guideline"),
    path("tasks/<int:assignment_id>/", tasks.task, name="task"),
    path("tasks/<int:assignment_id>/submit/", tasks.submit, name="submit"),
    path("tasks/<int:assignment_id>/draft/", tasks.draft, name="draft"),
    path("tasks/<int:assignment_id>/renew/", tasks.renew, name="renew"),
    path("tasks/<int:assignment_id>/skip/", tasks.skip, name="skip"),
    path("tasks/<int:assignment_id>/release/", tasks.release, name="release"),
    path("tasks/<int:assignment_id>/resume/", answers.resume, name="resume"),
    *(path("tasks/<int:assignment_id>/", include(list(workflow.task_urls))) for workflow in WORKFLOWS.values()),
    path("preview/", tasks.preview, name="preview"),
    path("answers/", answers.answers, name="answers"),
    path("answers/<int:assignment_id>/", answers.answer, name="answer"),
    path("answers/<int:assignment_id>/undo/", answers.undo, name="undo"),
]
