"""States of campaigns and slots, and all moves between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class CampaignState(models.TextChoices):
    DRAFT = "draft", _("Draft")
    OPEN = "open", _("Open")
    PAUSED = "paused", _("Paused")
    CLOSED = "closed", _("Closed")


CAMPAIGN_MOVES = frozenset(
    {
        (CampaignState.DRAFT, CampaignState.OPEN),
        (CampaignState.OPEN, CampaignState.PAUSED),
        (CampaignState.PAUSED, CampaignState.OPEN),
        (CampaignState.OPEN, CampaignState.CLOSED),
        (CampaignState.PAUSED, CampaignState.CLOSED),
    }
)


class State(models.TextChoices):
    OPEN = "open", _("Open")
    LEASED = "leased", _("In progress")
    SUBMITTED = "submitted", _("Submitted")
    ACCEPTED = "accepted", _("Accepted")
    SENT_BACK = "sent_back", _("Sent back")
    CANCELLED = "cancelled", _("Cancelled")
    # Waits for a manager: too many skips, or a prompt in quarantine.
    STOPPED = "stopped", _("Stopped")


class Move(models.TextChoices):
    CLAIM = "claim", _("claimed")
    RELEASE = "release", _("released")
    SKIP = "skip", _("skipped")
    EXPIRE = "expire", _("lease expired")
    SUBMIT = "submit", _("submitted")
    ACCEPT = "accept", _("accepted")
    SEND_BACK = "send_back", _("sent back")
    RESUME = "resume", _("resumed")
    SET_ASIDE = "set_aside", _("set aside")
    GIVE_UP = "give_up", _("given up")
    REPLACE = "replace", _("replaced")
    CANCEL = "cancel", _("cancelled")
    STOP = "stop", _("stopped")
    RESTART = "restart", _("restarted by a manager")
    TAKE_BACK = "take_back", _("acceptance withdrawn")
    UNDO = "undo", _("submit undone")


# A sent-back answer stays with its writer: its lease never ends in OPEN.
MOVES: dict[Move, tuple[State, State]] = {
    Move.CLAIM: (State.OPEN, State.LEASED),
    Move.RELEASE: (State.LEASED, State.OPEN),
    Move.SKIP: (State.LEASED, State.OPEN),
    Move.EXPIRE: (State.LEASED, State.OPEN),
    Move.SUBMIT: (State.LEASED, State.SUBMITTED),
    Move.ACCEPT: (State.SUBMITTED, State.ACCEPTED),
    Move.SEND_BACK: (State.SUBMITTED, State.SENT_BACK),
    Move.RESUME: (State.SENT_BACK, State.LEASED),
    Move.SET_ASIDE: (State.LEASED, State.SENT_BACK),
    # A new slot replaces the sent-back answer.
    Move.GIVE_UP: (State.LEASED, State.CANCELLED),
    Move.REPLACE: (State.SENT_BACK, State.CANCELLED),
    Move.CANCEL: (State.OPEN, State.CANCELLED),
    Move.STOP: (State.OPEN, State.STOPPED),
    Move.RESTART: (State.STOPPED, State.OPEN),
    # An undo of an answer that was accepted without review takes both steps.
    Move.TAKE_BACK: (State.ACCEPTED, State.SUBMITTED),
    Move.UNDO: (State.SUBMITTED, State.LEASED),
}
