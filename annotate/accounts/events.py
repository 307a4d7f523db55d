from collections.abc import Sequence
from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import AccountEvent, EventKind, User
from annotate.lib import mail

SENTENCES = {
    EventKind.LINK_MADE: _("%(by)s created a link that sets a new password for your account."),
    EventKind.ROLE_CHANGED: _("%(by)s changed your role: %(detail)s."),
    EventKind.EMAIL_CHANGED: _("%(by)s changed the e-mail address of your account."),
    EventKind.DEACTIVATED: _("%(by)s deactivated your account."),
    EventKind.REACTIVATED: _("%(by)s reactivated your account."),
    EventKind.TOKEN_CREATED: _("%(by)s created an API token for your account."),
}


def record(
    *,
    subject: User,
    actor: User | None,
    kind: EventKind,
    now: datetime,
    detail: str = "",
    notice: bool = False,
    by_mail: bool = True,
) -> AccountEvent:
    """`notice`: the owner sees it and gets a mail. `actor` is None for the command line."""
    event = AccountEvent.objects.create(
        subject=subject, actor=actor, kind=kind, detail=detail[:300], at=now, is_notice=notice
    )
    if notice:
        User.objects.filter(id=subject.id).update(has_notices=True)
        subject.has_notices = True
        if by_mail and subject.email:
            transaction.on_commit(partial(_mail, event, subject.email))
    return event


def sentence(event: AccountEvent) -> str:
    by = event.actor.name if event.actor else gettext("An administrator of the server")
    return str(SENTENCES[EventKind(event.kind)]) % {"by": by, "detail": event.detail}


def waiting(user: User) -> Sequence[AccountEvent]:
    notices = AccountEvent.objects.filter(subject=user, is_notice=True, dismissed_at=None)
    return list(notices.select_related("actor").order_by("id"))


def dismiss(*, user: User, ids: Sequence[int], now: datetime) -> None:
    with transaction.atomic():
        # A concurrent record() waits for this lock before it sets has_notices.
        User.objects.select_for_update(no_key=True).get(id=user.id)
        notices = AccountEvent.objects.filter(subject=user, is_notice=True, dismissed_at=None)
        notices.filter(id__in=ids).update(dismissed_at=now)
        User.objects.filter(id=user.id).update(has_notices=notices.exists())


def _mail(event: AccountEvent, to: str) -> None:
    text = gettext(
        "Hello %(name)s,\n\n%(what)s\n\nIf you did not expect this, ask a manager of your team. Your user name is "
        "%(username)s.\n"
    )
    user = event.subject
    mail.send(
        subject=gettext("A change to your account"),
        text=text % {"name": user.name, "what": sentence(event), "username": user.username},
        to=to,
    )
