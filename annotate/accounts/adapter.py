from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class InvitedOnly(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Nobody signs up: a manager invites people, because an account is access to unpublished prompts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
