from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from annotate.accounts import actions
from annotate.accounts.access import person
from annotate.accounts.models import AccountEvent, PasswordLink, Qualification, User
from annotate.lib.admin import Emergency, show
from annotate.lib.refusals import Refusal

admin.site.unregister(Group)
# A second address could receive password links without a notice.
admin.site.unregister(EmailAddress)
# The admin's own login has no limit of failures.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


@admin.register(User)
class UserAdmin(Emergency):
    """For when no manager can log in. `manage.py changepassword` sets passwords."""

    mendable = ("role", "cohort", "is_active", "email")

    def save_model(self, request: HttpRequest, obj: User, form: "ModelForm[User]", change: bool) -> None:
        """The actions check, notify and record."""
        user, by, now = User.objects.get(pk=obj.pk), person(request), timezone.now()
        if user.is_active and not obj.is_active:
            actions.deactivate(user=user, by=by, now=now)
        elif obj.is_active and not user.is_active:
            actions.reactivate(user=user, by=by, now=now)
        if (user.role, user.cohort) != (obj.role, obj.cohort):
            actions.change_role(user=user, role=obj.role, cohort=obj.cohort, by=by, now=now)
        if user.email != obj.email:
            actions.change_email(user=user, email=obj.email, by=by, now=now)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refusal as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(request.path)


show(Qualification, PasswordLink, AccountEvent)
