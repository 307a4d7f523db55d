"""Read versions of guidelines and their acknowledgements."""

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from annotate.accounts.models import User
from annotate.guidelines.models import Acknowledgement, Guideline, GuidelineVersion


def current_version(guideline: Guideline) -> GuidelineVersion | None:
    return guideline.versions.exclude(published_at=None).order_by("-number").first()


def draft_version(guideline: Guideline) -> GuidelineVersion | None:
    return guideline.versions.filter(published_at=None).first()


def acknowledged_version(labeler: User, guideline: Guideline) -> GuidelineVersion | None:
    return guideline.versions.filter(acknowledgements__labeler=labeler).order_by("-number").first()


def guidelines() -> QuerySet[Guideline]:
    """Return guidelines by name, with `acknowledged`, the number of people who acknowledged the current version.

    `current_number` is None if nothing is published.
    """
    versions = GuidelineVersion.objects.filter(guideline=OuterRef("id"))
    current = versions.exclude(published_at=None).order_by("-number")
    counted = current.annotate(people=Count("acknowledgements"))
    return Guideline.objects.annotate(
        current_number=Subquery(current.values("number")[:1]),
        published_at=Subquery(current.values("published_at")[:1]),
        has_draft=Exists(versions.filter(published_at=None)),
        acknowledged=Subquery(counted.values("people")[:1]),
    ).order_by("name")


def versions(guideline: Guideline) -> QuerySet[GuidelineVersion]:
    """Return versions, newest first, with `acknowledged`, the number of people."""
    later = GuidelineVersion.objects.filter(guideline=OuterRef("guideline"), number__gt=OuterRef("number"))
    return (
        guideline.versions.select_related("created_by")
        .annotate(
            acknowledged=Count("acknowledgements"),
            is_current=Q(published_at__isnull=False) & ~Exists(later.exclude(published_at=None)),
        )
        .order_by("-number")
    )


def acknowledgements(version: GuidelineVersion) -> QuerySet[Acknowledgement]:
    return version.acknowledgements.select_related("labeler").order_by("acknowledged_at", "id")
