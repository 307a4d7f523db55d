from django.urls import path

from exports import views

app_name = "exports"
urlpatterns = [
    path("exports/", views.exports, name="exports"),
    path("exports/new/", views.new, name="new"),
    path("exports/<int:export_id>/", views.export, name="export"),
    path("exports/<int:export_id>/progress/", views.progress, name="progress"),
    path("exports/<int:export_id>/quarantine/", views.quarantine, name="quarantine"),
    path("exports/<int:export_id>/<str:name>", views.download, name="download"),
    path("agreement/", views.agreement, name="agreement"),
]
