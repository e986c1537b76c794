"""Print a one-time link that signs somebody in, for who has the panel's command line."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from jails import audit
from jails.models import Invitation, User

LIFETIME = timedelta(days=1)
SOURCE = "command line"


class Command(BaseCommand):
    help = (
        "Print a one-time link. With a user name: it signs that person in, whose password ends when it is used. "
        "Without: it makes the first administrator, or signs in the one there is when none has a password; "
        "nothing is printed when an administrator can sign in."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", help="whom to sign in")
        parser.add_argument(
            "--forget-factors",
            action="store_true",
            help="also remove that person's second factors and end their sessions",
        )

    def handle(self, *, username: str | None = None, forget_factors: bool = False, **options: Any) -> None:
        from panel import factors
        from panel.accounts import link_to

        if forget_factors and not username:
            raise CommandError("--forget-factors needs the name of a person")
        with transaction.atomic():
            wanted = link_for(username) if username else link_for_administrators()
            if wanted is None:
                return
            if forget_factors:
                factors.forget_factors(wanted["user"], actor=SOURCE, source=SOURCE)
            token = issue(wanted)
        self.stdout.write(link_to(token))


def link_for(username: str) -> dict[str, Any]:
    person = User.objects.filter(username=username).first()
    if person is None:
        raise CommandError(f"nobody is called {username!r} here")
    if not person.is_active:
        raise CommandError(f"{username} is disabled: another administrator must enable them first")
    return {"label": f"sign-in link of {person}", "user": person}


def link_for_administrators() -> dict[str, Any] | None:
    administrators = list(User.objects.filter(role=User.Role.ADMINISTRATOR, is_active=True).order_by("pk"))
    if not administrators:
        return {"label": "the first administrator", "role": User.Role.ADMINISTRATOR}
    if any(person.has_usable_password() for person in administrators):
        return None
    return {"label": f"sign-in link of {administrators[0]}", "user": administrators[0]}


def issue(wanted: dict[str, Any]) -> str:
    """A token; earlier links for the same end."""
    same = Invitation.objects.filter(by_command=True, used_at__isnull=True, user=wanted.get("user"))
    same.filter(expires_at__gt=timezone.now()).update(expires_at=timezone.now())
    invitation, token = Invitation.issue(lifetime=LIFETIME, by_command=True, **wanted)
    action = "user.link" if invitation.user else "user.invite"
    obj = invitation.user or invitation
    audit.record(action, actor=SOURCE, obj=obj, after={"role": invitation.role}, source=SOURCE)
    return token
