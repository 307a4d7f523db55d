from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    LABELER = "labeler", _("Labeler")
    REVIEWER = "reviewer", _("Reviewer")
    MANAGER = "manager", _("Manager")


class Cohort(models.TextChoices):
    """Held-out labelers only evaluate models. Their answers never become training data."""

    TRAINING = "training", _("Training")
    HELD_OUT = "held_out", _("Held out")


class Qualification(models.Model):
    name = models.CharField(_("name"), max_length=60, unique=True)
    description = models.CharField(_("description"), max_length=300, blank=True)

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.LABELER)
    cohort = models.CharField(_("cohort"), max_length=16, choices=Cohort.choices, default=Cohort.TRAINING)
    # Canonical tags. Empty: all languages.
    languages = models.JSONField(_("languages"), default=list, blank=True)
    qualifications = models.ManyToManyField(
        Qualification, blank=True, related_name="people", verbose_name=_("qualifications")
    )
    # Answers in all campaigns. None: no limit.
    daily_cap = models.PositiveSmallIntegerField(_("most answers a day"), null=True, blank=True)

    # Pages look for notices only if it is set.
    has_notices = models.BooleanField(default=False, db_default=False, editable=False)
    # It has its generated password.
    is_demo = models.BooleanField(default=False, db_default=False, editable=False)

    # createsuperuser asks for these.
    REQUIRED_FIELDS = ["email", "role"]

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
            models.CheckConstraint(condition=models.Q(cohort__in=Cohort.values), name="user_cohort_known"),
            # Corrections by others may become training data.
            models.CheckConstraint(
                condition=models.Q(role=Role.LABELER) | models.Q(cohort=Cohort.TRAINING),
                name="user_held_out_is_labeler",
            ),
            # Two people must not share a password reset.
            models.UniqueConstraint(Lower("email"), condition=~models.Q(email=""), name="user_email_once"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """End API tokens and links with the old password.

        Django clears `_password` when a login only renews the hash of the same password.
        """
        if getattr(self, "_password", None) is None or self._state.adding:
            return super().save(*args, **kwargs)
        self.is_demo = False
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "is_demo"}
        now = timezone.now()
        with transaction.atomic():
            super().save(*args, **kwargs)
            self.api_tokens.all().delete()
            self.links.filter(ended_at=None).update(ended_at=now)
            self.account_events.create(kind=EventKind.PASSWORD_SET, at=now)
        return None

    @property
    def name(self) -> str:
        return self.get_full_name() or self.username


class PasswordLink(models.Model):
    """Its token is derived from this row and not stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="links")
    # Null: the page for forgotten passwords.
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # Used, replaced or withdrawn.
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=models.Q(ended_at=None), name="link_one_open"),
        ]


class ApiToken(models.Model):
    """SHA-256 suffices for keys of 256 random bits."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True)
    # To recognize a key.
    hint = models.CharField(max_length=8)
    created_at = models.DateTimeField()


class EventKind(models.TextChoices):
    INVITED = "invited", _("Account created")
    LINK_MADE = "link_made", _("Link to set a password made")
    LINK_WITHDRAWN = "link_withdrawn", _("Link to set a password withdrawn")
    PASSWORD_SET = "password_set", _("Password set")  # no password
    ROLE_CHANGED = "role_changed", _("Role changed")
    COHORT_CHANGED = "cohort_changed", _("Cohort changed")
    EMAIL_CHANGED = "email_changed", _("E-mail address changed")
    DEACTIVATED = "deactivated", _("Account deactivated")
    REACTIVATED = "reactivated", _("Account reactivated")
    TOKEN_CREATED = "token_created", _("API token created")  # no token
    TOKENS_ENDED = "tokens_ended", _("API tokens ended")  # no token


class AccountEvent(models.Model):
    """A trigger only permits changes of `dismissed_at`."""

    subject = models.ForeignKey(User, on_delete=models.PROTECT, related_name="account_events")
    # Null: the command line, or a visitor.
    actor = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=16, choices=EventKind.choices)
    detail = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField()
    is_notice = models.BooleanField(default=False)
    dismissed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=EventKind.values), name="account_event_kind_known"),
        ]
        indexes = [
            models.Index(fields=["subject", "-id"], name="account_event_of_person"),
        ]
