from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.accounts import events, links
from annotate.accounts.models import Cohort, EventKind, Qualification, Role, User
from annotate.lib import mail
from annotate.lib.refusals import Refusal


class UsernameTaken(Refusal):
    message = _("This user name is taken. Choose another. Upper and lower case make no difference.")


class EmailTaken(Refusal):
    message = _("This e-mail address belongs to another account. Enter a different one.")


class OnlyLabelersHeldOut(Refusal):
    message = _("Only labelers can be held out, because other corrections may become training data. Choose Training.")


class StaysHeldOut(Refusal):
    message = _(
        "This person has worked as a held-out labeler, and their answers must never become training data. "
        "Invite them again under another user name."
    )


class QualificationTaken(Refusal):
    message = _("A qualification with this name exists. Choose another name.")


class QualificationNeeded(Refusal):
    message = _("Campaigns require this qualification. Remove it from them before you delete it.")


class NotOneself(Refusal):
    message = _("You cannot take your own role away or deactivate yourself. Ask another manager.")


class LastManager(Refusal):
    message = _("This is the last active manager. Make somebody else a manager first.")


class Deactivated(Refusal):
    message = _("This account is deactivated. Reactivate it first.")


class ManagersOnly(Refusal):
    message = _("Only managers do this. Ask a manager of your team.")


class NoLink(Refusal):
    message = _("This person has no valid link. There is nothing to withdraw.")


class SuperusersOnly(Refusal):
    message = _(
        "Only superusers can change the account of a superuser. To set its password, use manage.py changepassword."
    )


@dataclass(frozen=True)
class Invitation:
    user: User
    link: str
    mailed: bool


def invite(
    *, username: str, email: str, full_name: str, role: str, cohort: str, site: str, by: User, now: datetime
) -> Invitation:
    """Create an account and a link to set its password. `site`: the address of the platform.

    Raises UsernameTaken, EmailTaken, OnlyLabelersHeldOut, ManagersOnly.
    """
    _check_cohort(role, cohort)
    _check_manager(by)
    # One field, because not everybody has a first and a last name.
    user = User(username=username, email=email, first_name=full_name, role=role, cohort=cohort, date_joined=now)
    user.set_unusable_password()
    _refuse_taken(user)
    try:
        with transaction.atomic():
            user.save()
            events.record(subject=user, actor=by, kind=EventKind.INVITED, now=now, detail=user.get_role_display())
            link = links.make(user=user, site=site, by=by, now=now)
    except IntegrityError:
        # a concurrent invitation took the name or address
        _refuse_taken(user)
        raise
    return Invitation(user=user, link=link, mailed=_mail(user, link, by))


def new_link(*, user: User, site: str, by: User, now: datetime) -> Invitation:
    """End the older link. Raises Deactivated, ManagersOnly, SuperusersOnly."""
    if not user.is_active:
        raise Deactivated
    _check_right(user, by)
    with transaction.atomic():
        events.record(subject=user, actor=by, kind=EventKind.LINK_MADE, now=now, notice=True, by_mail=False)
        link = links.make(user=user, site=site, by=by, now=now)
    return Invitation(user=user, link=link, mailed=_mail(user, link, by))


def withdraw_link(*, user: User, by: User, now: datetime) -> None:
    """Raises NoLink, ManagersOnly, SuperusersOnly."""
    _check_right(user, by)
    with transaction.atomic():
        # Wait for a concurrent use of the link.
        _lock(user)
        if not links.end(user=user, now=now):
            raise NoLink
        events.record(subject=user, actor=by, kind=EventKind.LINK_WITHDRAWN, now=now)


def _check_right(user: User, by: User) -> None:
    """Superusers administer the machine."""
    if user.is_superuser and not by.is_superuser:
        raise SuperusersOnly
    _check_manager(by)


def _check_manager(by: User) -> None:
    if not by.is_superuser and (by.role != Role.MANAGER or not by.is_active):
        raise ManagersOnly


def change_role(*, user: User, role: str, cohort: str, by: User, now: datetime) -> User:
    """Change role and cohort, and delete the API tokens of the old role.

    Raises OnlyLabelersHeldOut, StaysHeldOut, NotOneself, LastManager, ManagersOnly, SuperusersOnly.
    """
    _check_cohort(role, cohort)
    with transaction.atomic():
        if role != Role.MANAGER:
            _check_managers_remain(user, by)
        _check_right(user, by)
        user = User.objects.select_for_update(no_key=True).get(id=user.id)
        if user.cohort == Cohort.HELD_OUT and cohort != Cohort.HELD_OUT and user.last_login:
            raise StaysHeldOut
        if (user.role, user.cohort) == (role, cohort):
            return user
        before, roles, cohorts = user.role, user.get_role_display(), user.get_cohort_display()
        user.role, user.cohort = role, cohort
        user.save(update_fields=["role", "cohort"])
        if role != before:
            user.api_tokens.all().delete()
            detail = f"{roles} → {user.get_role_display()}"
            events.record(subject=user, actor=by, kind=EventKind.ROLE_CHANGED, now=now, detail=detail, notice=True)
        if cohorts != user.get_cohort_display():
            # No notice, because labelers must not see their cohort.
            detail = f"{cohorts} → {user.get_cohort_display()}"
            events.record(subject=user, actor=by, kind=EventKind.COHORT_CHANGED, now=now, detail=detail)
    return user


def change_email(*, user: User, email: str, by: User, now: datetime) -> User:
    """End links to the old address. Raises EmailTaken, ManagersOnly, SuperusersOnly."""
    _check_right(user, by)
    if email and User.objects.filter(email__iexact=email).exclude(id=user.id).exists():
        raise EmailTaken
    try:
        with transaction.atomic():
            links.end(user=user, now=now)
            # The notice goes to the old address.
            events.record(subject=user, actor=by, kind=EventKind.EMAIL_CHANGED, now=now, notice=True)
            user.email = email
            user.save(update_fields=["email"])
    except IntegrityError as taken:
        raise EmailTaken from taken
    return user


def change_work(
    *, user: User, languages: Sequence[str], qualifications: Iterable[Qualification], daily_cap: int | None
) -> User:
    """No languages means all; `daily_cap` is in answers, None for no limit."""
    with transaction.atomic():
        user.languages, user.daily_cap = list(languages), daily_cap
        user.save(update_fields=["languages", "daily_cap"])
        user.qualifications.set(qualifications)
    return user


def save_qualification(*, qualification: Qualification, name: str, description: str) -> Qualification:
    """Raises QualificationTaken."""
    qualification.name, qualification.description = name, description
    try:
        with transaction.atomic():
            qualification.save()
    except IntegrityError as taken:
        raise QualificationTaken from taken
    return qualification


def delete_qualification(*, qualification: Qualification) -> None:
    """Raises QualificationNeeded."""
    with transaction.atomic():
        # Prevents campaigns from requiring it meanwhile.
        qualification = Qualification.objects.select_for_update().get(id=qualification.id)
        if qualification.campaigns.exists():
            raise QualificationNeeded
        qualification.delete()


def deactivate(*, user: User, by: User, now: datetime) -> User:
    """Deactivate an account, and end its sessions, links and API tokens.

    Raises NotOneself, LastManager, ManagersOnly, SuperusersOnly.
    """
    with transaction.atomic():
        _check_managers_remain(user, by)
        _check_right(user, by)
        close(user=user, by=by, now=now)
    return user


def close(*, user: User, by: User | None, now: datetime) -> None:
    """Deactivate without checks. `by` is None for the command line."""
    with transaction.atomic():
        _lock(user)
        if not user.is_active:
            return
        user.is_active = False
        user.save(update_fields=["is_active"])
        _end_access(user, now)
        events.record(subject=user, actor=by, kind=EventKind.DEACTIVATED, now=now, notice=True)


def reactivate(*, user: User, by: User, now: datetime) -> User:
    """Raises ManagersOnly, SuperusersOnly."""
    _check_right(user, by)
    with transaction.atomic():
        _lock(user)
        if user.is_active:
            return user
        # Some were created during the deactivation.
        _end_access(user, now)
        user.is_active = True
        user.save(update_fields=["is_active"])
        events.record(subject=user, actor=by, kind=EventKind.REACTIVATED, now=now, notice=True)
    return user


def _lock(user: User) -> None:
    """Of two concurrent changes only one records an event."""
    user.refresh_from_db(from_queryset=User.objects.select_for_update(no_key=True))


def _end_access(user: User, now: datetime) -> None:
    user.api_tokens.all().delete()
    links.end(user=user, now=now)
    _end_sessions(user, now)


def _check_cohort(role: str, cohort: str) -> None:
    if cohort == Cohort.HELD_OUT and role != Role.LABELER:
        raise OnlyLabelersHeldOut


def _refuse_taken(user: User) -> None:
    # The login ignores case.
    if User.objects.filter(username__iexact=user.username).exists():
        raise UsernameTaken
    if user.email and User.objects.filter(email__iexact=user.email).exists():
        raise EmailTaken


def _check_managers_remain(user: User, by: User) -> None:
    """Lock all managers, so that concurrent changes do not remove the last two."""
    if user.id == by.id:
        raise NotOneself
    managers = User.objects.filter(role=Role.MANAGER, is_active=True).order_by("id").select_for_update(no_key=True)
    if {manager.id for manager in managers} == {user.id}:
        raise LastManager


def _end_sessions(user: User, now: datetime) -> None:
    # Only the signed data of a session names its owner.
    for session in Session.objects.filter(expire_date__gt=now).iterator():
        if session.get_decoded().get(SESSION_KEY) == str(user.pk):
            session.delete()


def _mail(user: User, link: str, by: User) -> bool:
    values = {
        "name": user.name,
        "by": by.name,
        "username": user.username,
        "link": link,
        "days": timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT).days,
    }
    text = gettext(
        "Hello %(name)s,\n\n%(by)s created an account for you. Your user name is %(username)s.\n\n"
        "Choose your password here. The link works once, within %(days)d days:\n%(link)s\n"
    )
    return mail.send(subject=gettext("Set your password"), text=text % values, to=user.email)
