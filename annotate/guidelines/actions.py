"""Write, publish and acknowledge guidelines."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.guidelines.models import Acknowledgement, Guideline, GuidelineVersion
from annotate.guidelines.queries import current_version, draft_version
from annotate.lib.refusals import Refusal
from annotate.lib.text import is_blank


class NameTaken(Refusal):
    message = _("A guideline with this name exists. Choose another name.")


class NoDraft(Refusal):
    message = _("There is no draft to publish. Edit the guideline first.")


class EmptyText(Refusal):
    message = _("The draft is empty. Write the guideline before you publish it.")


class NothingChanged(Refusal):
    message = _("The draft does not differ from the published version. Change it before you publish it.")


class NotPublished(Refusal):
    message = _("This version is a draft. You can acknowledge it after it is published.")


def create_guideline(*, name: str, body: str, by: User, now: datetime) -> Guideline:
    """Create a guideline with a draft. Raises NameTaken."""
    try:
        with transaction.atomic():
            guideline = Guideline.objects.create(name=name, created_at=now)
            save_draft(guideline=guideline, body=body, summary="", by=by, now=now)
    except IntegrityError as taken:
        raise NameTaken from taken
    return guideline


def save_draft(*, guideline: Guideline, body: str, summary: str, by: User, now: datetime) -> GuidelineVersion:
    """Save the draft. The first save after a publication creates the next version."""
    with transaction.atomic():
        _lock(guideline)
        draft = draft_version(guideline)
        if draft is None:
            last = guideline.versions.aggregate(last=Max("number"))["last"] or 0
            draft = GuidelineVersion(guideline=guideline, number=last + 1, created_by=by, created_at=now)
        draft.body, draft.summary = body, summary
        draft.save()
        return draft


def publish(*, guideline: Guideline, now: datetime) -> GuidelineVersion:
    """Publish the draft, which labelers must then acknowledge. Raises NoDraft, EmptyText, NothingChanged."""
    with transaction.atomic():
        _lock(guideline)
        draft = draft_version(guideline)
        if draft is None:
            raise NoDraft
        if is_blank(draft.body):
            raise EmptyText
        current = current_version(guideline)
        if current and current.body == draft.body:
            raise NothingChanged
        draft.published_at = now
        draft.save(update_fields=["published_at"])
        return draft


def acknowledge(*, version: GuidelineVersion, labeler: User, now: datetime) -> Acknowledgement:
    """Record that the labeler has read this version. Idempotent. Raises NotPublished."""
    if version.published_at is None:
        raise NotPublished
    row, _created = Acknowledgement.objects.get_or_create(
        version=version, labeler=labeler, defaults={"acknowledged_at": now}
    )
    return row


def _lock(guideline: Guideline) -> None:
    """Exclude other writers: two saves would create two drafts."""
    Guideline.objects.select_for_update(no_key=True).get(id=guideline.id)
