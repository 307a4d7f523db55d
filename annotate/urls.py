from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from annotate.accounts import views as accounts
from exports.endpoints import ExportViewSet

handler400 = "annotate.lib.errors.bad_request"
handler403 = "annotate.lib.errors.permission_denied"
handler404 = "annotate.lib.errors.page_not_found"
handler500 = "annotate.lib.errors.server_error"

exports = SimpleRouter()
exports.register("exports", ExportViewSet, basename="export")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", accounts.home, name="home"),
    path("account/notices/dismiss/", accounts.dismiss_notices, name="dismiss-notices"),
    # allauth would let people log in by an address that is not verified.
    path("account/email/", RedirectView.as_view(pattern_name="home")),
    path("account/", include("allauth.account.urls")),
    path("desk/", include("annotate.desk.urls")),
    path("studio/", include("annotate.studio.urls")),
    path("studio/", include("exports.urls")),
    path("api/v1/", include("annotate.api.urls")),
    path("api/v1/", include((exports.urls, "exports-api"))),
    path("admin/", admin.site.urls),
]
