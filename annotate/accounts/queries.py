from django.db.models import QuerySet

from annotate.accounts.models import Role, User


def people() -> QuerySet[User]:
    """Everybody: those who may work first, then by role and name."""
    return User.objects.order_by("-is_active", "role", "username")


def labelers() -> QuerySet[User]:
    """Whom a campaign can name."""
    return User.objects.filter(role=Role.LABELER, is_active=True).order_by("username")
