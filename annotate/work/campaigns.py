"""Create, change, open, pause and close campaigns."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Model, Value
from django.db.models.functions import Greatest

from annotate.accounts import queries as accounts
from annotate.accounts.models import Qualification, User
from annotate.guidelines.queries import current_version
from annotate.work.models import Campaign
from annotate.work.refusals import CampaignFixed, NameTaken, NobodyMayWork, NoSuchMove, NothingPublished, OrderFixed
from annotate.work.rules import CHANGEABLE
from annotate.work.slots import cancel_free_slots, free_of_campaign, hold_campaign
from annotate.work.states import CAMPAIGN_MOVES, CampaignState


def create_campaign(
    *,
    by: User | None,
    now: datetime,
    labelers: Iterable[User] = (),
    qualifications: Iterable[Qualification] = (),
    **columns: object,
) -> Campaign:
    """`columns`: fields of Campaign. Raises NameTaken."""
    with transaction.atomic():
        campaign = Campaign(**columns, created_by=by, created_at=now)
        _save(campaign)
        campaign.labelers.set(labelers)
        campaign.qualifications.set(qualifications)
    return campaign


def change_campaign(
    *,
    campaign: Campaign,
    labelers: Iterable[User] | None = None,
    qualifications: Iterable[Qualification] | None = None,
    **columns: object,
) -> Campaign:
    """`match_overlap` then applies a changed overlap to the tasks.

    Raises CampaignFixed, OrderFixed, NobodyMayWork or NameTaken.
    """
    lists = {"labelers": labelers, "qualifications": qualifications}
    given = {name: list(rows) for name, rows in lists.items() if rows is not None}
    with transaction.atomic():
        campaign = hold_campaign(campaign.id)
        changed = {name for name, value in {**columns, **given}.items() if differs(campaign, name, value)}
        if campaign.state != CampaignState.DRAFT and changed - CHANGEABLE:
            raise CampaignFixed
        if campaign.state == CampaignState.CLOSED and changed:
            raise CampaignFixed
        order = (columns.get("order", campaign.order), columns.get("order_seed", campaign.order_seed))
        if order != (campaign.order, campaign.order_seed) and campaign.tasks.exists():
            raise OrderFixed
        if columns.get("overlap", campaign.overlap) != campaign.overlap and campaign.tasks.exists():
            campaign.matched_to = 0
        for name, value in columns.items():
            setattr(campaign, name, value)
        _save(campaign)
        for name, rows in given.items():
            getattr(campaign, name).set(rows)
        if campaign.state != CampaignState.DRAFT and "labelers" in changed:
            _check_can_open(campaign)
    return campaign


def differs(row: Model, name: str, value: Any) -> bool:
    """Is `value` different from the row's? Compares related rows by their ids."""
    if not row._meta.get_field(name).many_to_many:
        return bool(getattr(row, name) != value)
    return {one.pk for one in value} != {one.pk for one in getattr(row, name).all()}


def _save(campaign: Campaign) -> None:
    try:
        with transaction.atomic():
            campaign.save()
    except IntegrityError as refused:
        if Campaign.objects.filter(name=campaign.name).exclude(id=campaign.id).exists():
            raise NameTaken from refused
        raise


def change_state(*, campaign: Campaign, to: CampaignState, now: datetime) -> Campaign:
    """Open, pause or close a campaign. Labelers can finish what they hold after the close."""
    with transaction.atomic():
        locked = hold_campaign(campaign.id)
        before = CampaignState(locked.state)
        if (before, to) not in CAMPAIGN_MOVES:
            raise NoSuchMove
        columns: dict[str, Any] = {"state": to}
        if before == CampaignState.DRAFT:
            _check_can_open(locked)
            columns["opened_at"] = now
        if to == CampaignState.CLOSED:
            columns["closed_at"] = now
        Campaign.objects.filter(id=campaign.id).update(**columns)
        if to == CampaignState.CLOSED:
            # One step. The sweep cancels the rest; nobody can claim it.
            cancel_free_slots(free_of_campaign(campaign), now=now)
    campaign.refresh_from_db()
    return campaign


def _check_can_open(campaign: Campaign) -> None:
    if current_version(campaign.guideline) is None:
        raise NothingPublished
    named = campaign.labelers.all()
    # Named people replace the cohorts.
    if named.exists() and not named.filter(id__in=accounts.labelers()).exists():
        raise NobodyMayWork
    if not campaign.cohorts and not named.exists():
        raise NobodyMayWork


def settle(*, campaigns: Iterable[int], now: datetime) -> None:
    """Refuse the undo of answers submitted so far: an export is about to read them."""
    with transaction.atomic():
        for campaign in sorted(campaigns):
            hold_campaign(campaign)
            # A concurrent export may have stored a later time.
            Campaign.objects.filter(id=campaign).update(settled_at=Greatest("settled_at", Value(now)))
