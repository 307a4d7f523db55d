from django.db.models import Count, QuerySet

from annotate.accounts.models import AccountEvent, Qualification, Role, User


def people() -> QuerySet[User]:
    return User.objects.prefetch_related("qualifications").order_by("-is_active", "role", "username")


def labelers() -> QuerySet[User]:
    return User.objects.filter(role=Role.LABELER, is_active=True).order_by("username")


def qualifications() -> QuerySet[Qualification]:
    """`held` people have it, `asked` campaigns require it."""
    return Qualification.objects.annotate(
        held=Count("people", distinct=True), asked=Count("campaigns", distinct=True)
    ).order_by("name")


def history(user: User) -> QuerySet[AccountEvent]:
    return user.account_events.select_related("actor").order_by("-id")
