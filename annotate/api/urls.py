from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.routers import SimpleRouter

from annotate.api import views
from annotate.workflows.table import WORKFLOWS

app_name = "api"
router = SimpleRouter()
router.register("pools", views.PoolViewSet, basename="pool")
router.register("prompts", views.PromptViewSet, basename="prompt")
router.register("policies", views.PolicyViewSet, basename="policy")
router.register("runs", views.RunViewSet, basename="run")
router.register("campaigns", views.CampaignViewSet, basename="campaign")

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    *router.urls,
    *(path("campaigns/<int:campaign_id>/", include(list(workflow.api_urls))) for workflow in WORKFLOWS.values()),
]
