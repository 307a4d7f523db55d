from django.db.models import Count, QuerySet

from annotate.accounts.models import AccountEvent, Qualification, Role, User


def people() -> QuerySet[User]:
    """Everybody, with their qualifications: those who may work first, then by role and name."""
    return User.objects.prefetch_related("qualifications").order_by("-is_active", "role", "username")


def labelers() -> QuerySet[User]:
    """Whom a campaign can name."""
    return User.objects.filter(role=Role.LABELER, is_active=True).order_by("username")


def qualifications() -> QuerySet[Qualification]:
    """By name, each with how many people have it, `held`, and how many campaigns ask for it, `asked`."""
    return Qualification.objects.annotate(
        held=Count("people", distinct=True), asked=Count("campaigns", distinct=True)
    ).order_by("name")


def history(user: User) -> QuerySet[AccountEvent]:
    """What was done to this account, newest first."""
    return user.account_events.select_related("actor").order_by("-id")
