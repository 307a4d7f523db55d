from django.urls import URLPattern, URLResolver, include, path

from annotate.desk import views
from annotate.workflows.table import WORKFLOWS

app_name = "desk"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.home, name="home"),
    path("campaigns/<int:campaign_id>/next/", views.next_task, name="next"),
    path("campaigns/<int:campaign_id>/ahead/", views.ahead, name="ahead"),
    path("campaigns/<int:campaign_id>/guideline/", views.guideline, name="guideline"),
    path("tasks/<int:assignment_id>/", views.task, name="task"),
    path("tasks/<int:assignment_id>/submit/", views.submit, name="submit"),
    path("tasks/<int:assignment_id>/draft/", views.draft, name="draft"),
    path("tasks/<int:assignment_id>/renew/", views.renew, name="renew"),
    path("tasks/<int:assignment_id>/skip/", views.skip, name="skip"),
    path("tasks/<int:assignment_id>/release/", views.release, name="release"),
    path("tasks/<int:assignment_id>/resume/", views.resume, name="resume"),
    *(path("tasks/<int:assignment_id>/", include(list(workflow.task_urls))) for workflow in WORKFLOWS.values()),
    path("preview/", views.preview, name="preview"),
    path("answers/", views.answers, name="answers"),
    path("answers/<int:assignment_id>/", views.answer, name="answer"),
    path("answers/<int:assignment_id>/undo/", views.undo, name="undo"),
]
