"""The refusals of the engine."""

from django.utils.translation import gettext_lazy as _

from annotate.guidelines.models import GuidelineVersion
from annotate.lib.refusals import Refusal


class Moved(Refusal):
    """The slot is not in the state that the move starts from."""

    message = _("This task has changed since you opened the page. Load the page again to see its current state.")


class NotYours(Refusal):
    message = _("This campaign or task is not open to you.")


class CampaignNotOpen(Refusal):
    message = _("This campaign gives out no tasks at the moment. You can still finish the task you have.")


class CampaignClosed(Refusal):
    message = _("This campaign is closed and takes no more answers. Start a task in another campaign.")


class NothingLeft(Refusal):
    message = _("No tasks are left for you in this campaign at the moment.")


class Busy(Refusal):
    message = _("Other labelers are taking the next tasks right now. Try again in a moment.")


class DailyCap(Refusal):
    message = _("You have reached your daily limit of answers. You can still finish the task you have.")


class LeaseLost(Refusal):
    message = _(
        "Your reserved time for this task ended, and another labeler has it now. Your text is saved, and you can copy"
        " it."
    )


class Skipped(LeaseLost):
    message = _("You skipped this task, so you cannot submit it. Start another task.")


class ClosedMeanwhile(LeaseLost):
    message = _("This campaign is now closed and takes no more answers. Your text is saved, and you can copy it.")


class NotOpenToYou(LeaseLost):
    message = _("This campaign is no longer open to you. Your text is saved, and you can copy it.")


class TaskStopped(LeaseLost):
    message = _("This task is paused until a manager decides about it. Your text is saved, and you can copy it.")


class NotWanted(LeaseLost):
    message = _("This task needs no more answers. Your text is saved, and you can copy it.")


class LeaseEnded(LeaseLost):
    message = _("Your reserved time for this task has ended. You can still submit it until another labeler takes it.")


class AlreadySubmitted(LeaseLost):
    message = _("You have already submitted this task.")


class UndoOver(Refusal):
    message = _("You can no longer undo this submit: the time for it is over, or the answer has been used since.")


class NotSentBack(Moved):
    message = _(
        "You have already submitted this answer, and it is not sent back to you. You can read it under “My answers”."
    )


class Replaced(Moved):
    message = _(
        "A manager has asked another labeler for this answer. You can still read your text under “My answers”. Start"
        " another task."
    )


class GivenUp(Moved):
    message = _(
        "You skipped this task, so another labeler answers it. You can still read your text under “My answers”. Start"
        " another task."
    )


class KeyTaken(Refusal):
    message = _("This page was submitted before. Load the task again.")


class DraftTooLong(Refusal):
    message = _("A draft can have up to a million characters. Shorten the text to save it.")


class DraftOfTooManyFields(Refusal):
    message = _("A draft can have up to a thousand fields. Remove some to save it.")


class NotAcknowledged(Refusal):
    message = _("Read and acknowledge the current guideline first.")

    def __init__(self, version: GuidelineVersion | None) -> None:
        super().__init__(version)
        self.version = version


class NameTaken(Refusal):
    message = _("A campaign with this name exists already. Choose another name.")


class CampaignFixed(Refusal):
    message = _(
        "After a campaign has opened you can change only its name, named labelers, qualifications, answers per task,"
        " review share, lease, skips and undo, and nothing after it has closed."
    )


class OrderFixed(Refusal):
    message = _("The order cannot change any more: the campaign's tasks already have their places in the queue.")


class NoSuchMove(Refusal):
    message = _("The campaign is not in a state that allows this. Load the page again to see its state.")


class NothingPublished(Refusal):
    message = _("Publish a version of the campaign's guideline first: labelers must acknowledge it before they start.")


class NobodyMayWork(Refusal):
    message = _(
        "Nobody could work in this campaign. Choose a cohort, or name active labelers. If you name people, cohorts do"
        " not matter."
    )


class NotStopped(Refusal):
    message = _("This task no longer waits for a decision.")


class NoLongerSentBack(Moved):
    message = _("This answer is no longer waiting: its labeler has resumed it, or it was replaced.")


class InQuarantine(Refusal):
    message = _("The prompt of this task is in quarantine. Decide about the prompt first.")


class OwnAnswer(Refusal):
    message = _("You wrote this answer, so another person must review it.")


class CommentNeeded(Refusal):
    message = _("Write a comment that says what to change. The labeler sees it beside the answer.")
