from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    LABELER = "labeler", _("Labeler")
    REVIEWER = "reviewer", _("Reviewer")
    MANAGER = "manager", _("Manager")


class Cohort(models.TextChoices):
    """Held-out labelers show whether a model pleases people it did not learn from: they never produce training data."""

    TRAINING = "training", _("Training")
    HELD_OUT = "held_out", _("Held out")


class Qualification(models.Model):
    """Something a labeler has shown they can do, such as medical knowledge; campaigns ask for it."""

    name = models.CharField(_("name"), max_length=60, unique=True)
    description = models.CharField(_("description"), max_length=300, blank=True)

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.LABELER)
    cohort = models.CharField(_("cohort"), max_length=16, choices=Cohort.choices, default=Cohort.TRAINING)
    # Canonical language tags (annotate/lib/languages.py), such as "en" or "pt-BR"; none: tasks in every language.
    languages = models.JSONField(_("languages"), default=list, blank=True)
    qualifications = models.ManyToManyField(
        Qualification, blank=True, related_name="people", verbose_name=_("qualifications")
    )
    # The most answers a day, over all campaigns; none: no limit.
    daily_cap = models.PositiveSmallIntegerField(_("most answers a day"), null=True, blank=True)

    # createsuperuser asks for these: the first person of a new site is its manager.
    REQUIRED_FIELDS = ["email", "role"]

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
            models.CheckConstraint(condition=models.Q(cohort__in=Cohort.values), name="user_cohort_known"),
            # Only labelers are held out: a reviewer's or manager's correction may reach training data.
            models.CheckConstraint(
                condition=models.Q(role=Role.LABELER) | models.Q(cohort=Cohort.TRAINING),
                name="user_held_out_is_labeler",
            ),
            # Two people must not share a password reset; people invited without an address have "".
            models.UniqueConstraint(Lower("email"), condition=~models.Q(email=""), name="user_email_once"),
        ]

    @property
    def is_manager(self) -> bool:
        return self.role == Role.MANAGER

    @property
    def name(self) -> str:
        return self.get_full_name() or self.username
