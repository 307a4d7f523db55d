from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.models import Group

from annotate.accounts.models import Qualification, User
from annotate.lib.admin import Emergency, show

# Roles say who may do what here.
admin.site.unregister(Group)
# The admin's own login counts no failures: people come through the one that does.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


@admin.register(User)
class UserAdmin(Emergency):
    """For the day when no manager can log in. A password is set by `manage.py changepassword`."""

    mendable = ("role", "cohort", "is_active", "email")


show(Qualification)
