"""How people come in: invitations by one-time links, sign-in links, and what allauth asks about accounts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from smtplib import SMTPException
from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from jails import audit, memberships, policy
from jails.models import Invitation, Membership, Tenant, User
from jails.models.tenant import token_digest

log = structlog.get_logger(__name__)
RESERVED_NAMES = frozenset({"anonymous", "cellblock", "command-line", "demo", "nobody", "panel", "system", "worker"})
"""What the log calls those who are no person."""


SENT = "account/messages/email_confirmation_sent.txt"
"""allauth's message that the link to confirm an address is on its way."""
WAYS = {
    "reauthenticate": "Use your password",
    "mfa_reauthenticate": "Use a code of your app, or a recovery code",
    "mfa_reauthenticate:webauthn": "Use a passkey",
}
"""allauth's ways to prove anew who one is, in the panel's words."""


class AccountAdapter(DefaultAccountAdapter):
    """People are invited; nobody makes an account for themselves."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "No account here has this user name and this password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """As panel.middleware found it; `::` where a proxy on a socket named none."""
        return request.META.get("REMOTE_ADDR") or "::"

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Signing in counts, too: who has just come is not asked again."""
        from panel import step_up

        return not step_up.is_recent(context.request)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        return [way | {"description": WAYS[way["id"]]} for way in super().get_reauthentication_methods(user)]

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """At the panel's own address, whatever name the request came by."""
        return str(settings.URL) + reverse("account_confirm_email", args=[emailconfirmation.key])

    def send_confirmation_mail(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """With the link to confirm an address: behind the transaction, where the view has one (`mails`)."""
        self._behind(request, partial(super().send_confirmation_mail, request, *args, **kwargs))

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """What says that a mail was sent is said once it was."""
        say = partial(super().add_message, request, level, message_template, *args, **kwargs)
        self._behind(request, say) if message_template == SENT else say()

    @staticmethod
    def _behind(request: HttpRequest, act: Callable[[], None]) -> None:
        waiting = getattr(request, "mails", None)
        act() if waiting is None else waiting.append(act)

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Once what it tells of is done: no transaction waits for a mail server, and one that is away stops nothing."""
        request = self.request

        def send() -> None:
            try:
                with context.request_context(request):
                    super(AccountAdapter, self).send_notification_mail(*args, **kwargs)
            except (OSError, SMTPException) as error:
                log.warning("a notification was not sent", error=str(error))

        transaction.on_commit(send)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")


class Closed(Exception):
    """The link does not work, or no longer."""


def link_to(token: str) -> str:
    """The address that is shown once."""
    return str(settings.URL) + reverse("enter", args=[token])


def invitation_of(token: str) -> Invitation | None:
    """The invitation a link stands for, if it still holds."""
    rows = Invitation.objects.select_related("tenant", "user", "created_by")
    found = rows.filter(token_digest=token_digest(token)).first()
    return found if found and holds(found) else None


def note_closed(token: str, source: str) -> None:
    """In the log: that somebody tried to use a link which no longer holds. One that never was is not worth a line."""
    with transaction.atomic():
        known = Invitation.objects.select_related("tenant").filter(token_digest=token_digest(token)).first()
        if known:
            detail = "used before" if known.used_at else "withdrawn, expired or no longer allowed"
            fields = {"obj": known, "tenant": known.tenant, "detail": detail, "source": source}
            audit.record("invitation.use", actor="(whoever has the link)", outcome="refused", **fields)


def holds(invitation: Invitation) -> bool:
    """Whether it may be used as of now: what its maker could give then and no longer can, it no longer gives."""
    if not invitation.is_open or (invitation.tenant and invitation.tenant.archived_at):
        return False
    if invitation.user and not invitation.user.is_active:
        return False
    if invitation.by_command:
        return True
    needed = "user.invite" if invitation.tenant is None else "tenant.invite"
    return policy.allowed(invitation.created_by, needed, invitation.tenant)


def redeem(invitation: Invitation, username: str = "", person: User | None = None, source: str = "") -> User:
    """Use an invitation up: for `person` who is signed in, or by making a person called `username`.

    Raises Closed when it no longer holds, IntegrityError when the name has just been taken.
    """
    with transaction.atomic():
        locked = Invitation.objects.select_for_update(of=("self",)).select_related("tenant", "user", "created_by")
        invitation = locked.get(pk=invitation.pk)
        if not holds(invitation):
            raise Closed
        invitation.used_at = timezone.now()
        invitation.save(update_fields=["used_at"])
        if invitation.user:
            # Who asked for a link has lost the password, or somebody else has it. It ends all sessions, too.
            person = invitation.user
            person.set_unusable_password()
            person.save(update_fields=["password"])
            entry: dict[str, Any] = {"obj": person, "after": {"signs_in": "by this link, without a password"}}
        else:
            entry = {"after": {"link": invitation.label}}
            if person is None:
                person = add_person(invitation, username)
                entry["after"] |= {"role": person.role, "hosts": hosts_of(person)}
            if invitation.tenant:
                joined = Membership.objects.create(
                    tenant=invitation.tenant,
                    user=person,
                    role=invitation.tenant_role,
                    rights=invitation.tenant_rights,
                )
                rights = memberships.rights_of(joined)
                entry["after"] |= {"tenant_role": rights.pop("role"), **rights}
            entry |= {"obj": person, "tenant": invitation.tenant}
        invited_by = f"invited by {invitation.created_by or 'the command line'}"
        audit.record("invitation.use", actor=person, detail=invited_by, source=source, **entry)
    return person


def add_person(invitation: Invitation, username: str) -> User:
    person = User(username=username, role=invitation.role)
    person.set_unusable_password()
    person.save(force_insert=True)
    person.operated_hosts.set(invitation.operated_hosts.all())
    return person


def hosts_of(person: User) -> list[str]:
    return list(person.operated_hosts.values_list("name", flat=True))


def end_sessions(person: User, but: str = "", only: int | None = None) -> int:
    """Sign a person out wherever they are signed in, but in the session with this key. How many were ended.

    only: nowhere but in the session of this row, where it is theirs.
    """
    sessions = UserSession.objects.filter(user=person).exclude(session_key=but)
    if only is not None:
        sessions = sessions.filter(pk=only) if only < 2**63 else sessions.none()
    for session in sessions:
        session.end()
    return len(sessions)


def open_invitations() -> Any:
    return Invitation.objects.filter(used_at__isnull=True, expires_at__gt=timezone.now())


def withdraw(invitation: Invitation, *, user: User, source: str) -> None:
    """Make a link useless before its time."""
    with transaction.atomic():
        Invitation.objects.filter(pk=invitation.pk, used_at__isnull=True).update(expires_at=timezone.now())
        audit.record("invitation.withdraw", actor=user, obj=invitation, tenant=invitation.tenant, source=source)


def is_last_administrator(person: User) -> bool:
    """Call it in the transaction of the change: it holds the administrators' rows until that ends."""
    administrators = User.objects.select_for_update().filter(role=User.Role.ADMINISTRATOR, is_active=True)
    return person.is_administrator and {row.pk for row in administrators} <= {person.pk}


def is_last_owner(membership: Membership) -> bool:
    """Call it in the transaction of the change: it holds the tenant's row until that ends."""
    Tenant.objects.select_for_update().get(pk=membership.tenant_id)
    owners = Membership.objects.filter(tenant=membership.tenant_id, role=Membership.Role.OWNER, user__is_active=True)
    return membership.role == Membership.Role.OWNER and not owners.exclude(pk=membership.pk).exists()
