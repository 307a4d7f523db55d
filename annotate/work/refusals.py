"""What the engine refuses, each with the words for the person who reads them."""

from django.utils.translation import gettext_lazy as _

from annotate.guidelines.models import GuidelineVersion
from annotate.lib.refusals import Refusal


class Moved(Refusal):
    """The row is not in the state that the move starts from."""

    message = _("This task has changed since you opened the page. Load the page again to see its current state.")


class NotYours(Refusal):
    message = _("This campaign or task is not open to you.")


class CampaignNotOpen(Refusal):
    message = _("This campaign hands out no tasks at the moment. What you hold you can still finish.")


class CampaignClosed(Refusal):
    message = _("This campaign is closed, and waits for no more answers.")


class NothingLeft(Refusal):
    message = _("There is nothing left for you in this campaign at the moment.")


class Busy(Refusal):
    message = _("Others are taking the next tasks at this very moment. Please try again.")


class DailyCap(Refusal):
    message = _("You have reached your number of answers for today. What you hold you can still finish.")


class LeaseLost(Refusal):
    message = _("Your time for this task ended and it went to somebody else. Your text is kept, and you can copy it.")


class Skipped(LeaseLost):
    message = _("You skipped this task. It does not come back to you.")


class ClosedMeanwhile(LeaseLost):
    message = _("This campaign is closed now, and takes no more answers. Your text is kept, and you can copy it.")


class NotOpenToYou(LeaseLost):
    message = _("This campaign is not open to you any more. Your text is kept, and you can copy it.")


class TaskStopped(LeaseLost):
    message = _(
        "Nobody can work on this task until a manager has decided about it. Your text is kept, and you can copy it."
    )


class NotWanted(LeaseLost):
    message = _("No more answers to this task are wanted. Your text is kept, and you can copy it.")


class LeaseEnded(LeaseLost):
    message = _("Your time for this task has ended. You can still submit it while nobody else has taken it.")


class AlreadySubmitted(LeaseLost):
    message = _("You have already submitted this task.")


class UndoOver(Refusal):
    message = _("This answer cannot be taken back any more: its time is over, or somebody has worked on with it.")


class NotSentBack(Moved):
    message = _(
        "You have already submitted this answer, and it is not sent back to you. You can read it under “My answers”."
    )


class Replaced(Moved):
    message = _(
        "Another labeler was asked for this answer instead of you, because you had not written it again. You can still"
        " read your text under “My answers”. Start another task."
    )


class GivenUp(Moved):
    message = _(
        "You skipped this task, so another labeler was asked for the answer. You can still read your text under"
        " “My answers”. Start another task."
    )


class KeyTaken(Refusal):
    message = _("This page was handed in before. Load the task again.")


class DraftTooLong(Refusal):
    message = _("This text is longer than a million characters and cannot be kept as a draft.")


class DraftOfTooManyFields(Refusal):
    message = _("This form has more than a thousand fields and cannot be kept as a draft.")


class NotAcknowledged(Refusal):
    message = _("Please read and acknowledge the current guideline first.")

    def __init__(self, version: GuidelineVersion | None) -> None:
        super().__init__(version)
        self.version = version


class NameTaken(Refusal):
    message = _("There is already a campaign of this name.")


class CampaignFixed(Refusal):
    message = _(
        "Once it is open a campaign keeps its settings, all but name, named labelers and qualifications, answers per"
        " task, review share, lease, skips and undo."
    )


class OrderFixed(Refusal):
    message = _("The campaign has tasks already, each with its place in the queue: their order cannot change any more.")


class NoSuchMove(Refusal):
    message = _("The campaign is not in a state that allows this. Load the page again to see its state.")


class NothingPublished(Refusal):
    message = _("Publish a version of the campaign's guideline first: labelers work under it.")


class NobodyMayWork(Refusal):
    message = _("Choose a cohort or name labelers first: nobody could work in this campaign.")


class NotStopped(Refusal):
    message = _("This task does not wait for a decision any more.")


class NoLongerSentBack(Moved):
    message = _("This answer is no longer waiting: its writer took it up, or it was replaced.")


class InQuarantine(Refusal):
    message = _("The prompt of this task is in quarantine. Decide about the prompt first.")


class OwnAnswer(Refusal):
    message = _("You wrote this answer; somebody else must review it.")


class CommentNeeded(Refusal):
    message = _("Write what should change: the labeler sees your comment beside the answer.")
