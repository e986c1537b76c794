"""Who I am, and the one-time links by which people come in."""

from __future__ import annotations

from collections.abc import Callable
from smtplib import SMTPException
from typing import Any

from allauth.account import views as allauth
from allauth.account.internal.flows.login import record_authentication
from allauth.account.models import EmailAddress, get_emailconfirmation_model
from allauth.account.utils import perform_login
from allauth.core.internal import ratelimit
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import audit, policy
from jails import summary as weekly
from jails.models import Invitation, Membership, Tenant
from panel import step_up
from panel.accounts import Closed, end_sessions, invitation_of, note_closed, redeem
from panel.context import TEAM
from panel.factors import factors_of, must_have_factor
from panel.forms.account import EnterForm
from panel.step_up import proving
from panel.views.access import source

THEMES = ("light", "dark", "auto")
THEME_AGE = 365 * 24 * 3600


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    context = {
        "memberships": request.user.memberships.filter(tenant__archived_at__isnull=True).select_related("tenant"),
        "hosts": request.user.operated_hosts.all() if request.user.is_operator else [],
        "sessions": own_sessions(request),
        "factors": factors_of(request.user),
        "oidc": {"name": settings.OIDC_NAME, "id": settings.OIDC_ID} if settings.OIDC_ISSUER else None,
        "linked": SocialAccount.objects.filter(user=request.user).first() if settings.OIDC_ISSUER else None,
        "address": addresses_of(request.user)["address"],
        "may_have_summary": weekly.may_have(request.user),
        "mail_sends": settings.MAIL_SENDS,
        "must_have_factor": must_have_factor(request.user),
    }
    return render(request, "panel/account.html", context)


def own_sessions(request: HttpRequest) -> list[UserSession]:
    """Where one is signed in, this session first."""
    found = UserSession.objects.purge_and_list(request.user)
    return sorted(found, key=lambda session: (not session.is_current(), -session.created_at.timestamp()))


@require_POST
@login_required
def sessions(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere else, or in the one session that is named."""
    step_up.ask(request)
    one = request.POST.get("session", "")
    if one and not (one.isascii() and one.isdigit()):
        raise Http404
    with transaction.atomic():
        ended = end_sessions(request.user, but=request.session.session_key or "", only=int(one) if one else None)
        if one and not ended:
            raise Http404
        audit.record(
            "session.end", actor=request.user, obj=request.user, after={"ended": ended}, source=source(request)
        )
    messages.success(request, "You are signed out there." if one else "You are signed out everywhere else.")
    return redirect("account")


def sign_out(request: HttpRequest) -> HttpResponse:
    """allauth's page; the browser is told to forget what it has kept of the panel."""
    response = allauth.logout(request)
    if request.method == "POST":
        response["Clear-Site-Data"] = '"cache", "storage"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def change_password(request: HttpRequest) -> HttpResponse:
    """allauth's page; in a transaction, so that its entry in the log (jails.signals) and the change are one."""
    return allauth.password_change(request)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@transaction.atomic
def set_password(request: HttpRequest) -> HttpResponse:
    """allauth's page. A password proves who one is from then on: a session left open must not set itself one."""
    step_up.refuse_linked(request)
    if not request.user.has_usable_password() and step_up.ways_of(request.user):
        step_up.ask_keeping_nothing(request, back=reverse("account_set_password"))
    had_one = request.user.has_usable_password()
    response = allauth.password_set(request)
    if had_one or response.status_code != 302:
        return response
    if page := step_up.page_left(request):
        messages.info(request, "What you sent from here was not kept, and not done: send it again.")
        return redirect(page)
    return redirect("home")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def email(request: HttpRequest) -> HttpResponse:
    """The address that mail goes to: a new one counts once the link that was sent there is used.

    The link is sent behind the transaction: none waits for a mail server, and no link is for what was not kept.
    """
    if request.method == "POST" and not settings.MAIL_SENDS:
        return redirect("account_email")
    if request.method == "POST":
        step_up.ask(request)
    view = allauth.EmailView.as_view(extra_context={"mail_sends": settings.MAIL_SENDS})
    request.mails = []
    response = noting_address(request, view)
    try:
        for send in request.mails:
            send()
    except (OSError, SMTPException):
        ratelimit.clear(
            request, app="allauth.account", action="confirm_email", key=request.POST.get("email", "").lower()
        )
        messages.error(
            request, "The mail server could not be reached, so no link was sent: send it again later, from here."
        )
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def confirm_email(request: HttpRequest, key: str) -> HttpResponse:
    """Whose address it becomes has to be signed in: the link alone, in whoever's mail box, changes nothing."""
    found = get_emailconfirmation_model().from_key(key)
    if found is None or found.email_address.user_id != request.user.pk:
        return render(request, "account/email_confirm.html", status=404)
    return noting_address(request, allauth.confirm_email, key=key)


def noting_address(request: HttpRequest, view: Callable[..., HttpResponse], **kwargs: Any) -> HttpResponse:
    """In one transaction with the entry of the change."""
    if request.method != "POST":
        return view(request, **kwargs)
    with transaction.atomic():
        before = addresses_of(request.user)
        response = view(request, **kwargs)
        after = addresses_of(request.user)
        if after != before:
            entry = {"before": before, "after": after, "source": source(request)}
            audit.record("user.email", actor=request.user, obj=request.user, **entry)
    return response


def addresses_of(person: Any) -> dict[str, str]:
    rows = list(EmailAddress.objects.filter(user=person))
    return {
        "address": next((row.email for row in rows if row.verified), ""),
        "to be confirmed": next((row.email for row in rows if not row.verified), ""),
    }


reauthenticate = proving(allauth.reauthenticate)
"""By password; by a second factor see panel.views.factors."""


@require_POST
@login_required
def summary(request: HttpRequest) -> HttpResponse:
    """Have the week's summary of the log by mail, or no more."""
    wants = "wants" in request.POST
    if wants and not weekly.may_have(request.user):
        raise Http404
    request.user.wants_summary = wants
    request.user.save(update_fields=["wants_summary"])
    messages.success(request, "You get the week's summary on Mondays." if wants else "You get no more summaries.")
    return redirect("account")


@require_POST
@login_required
def team(request: HttpRequest) -> HttpResponse:
    """Look at one of one's teams, or at all. Any other name is none of them."""
    slug = request.POST.get("team", "")
    mine = policy.visible(request.user, Tenant).filter(archived_at__isnull=True)
    if slug and not mine.filter(slug=slug).exists():
        raise Http404
    request.session[TEAM] = slug
    return redirect("home")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember light or dark in a cookie of this browser, and go back to the page it was chosen on."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = reverse("home")
    response = redirect(back)
    chosen = request.POST.get("theme", "")
    if chosen in THEMES:
        response.set_cookie("theme", chosen, max_age=THEME_AGE, samesite="Lax", secure=request.is_secure())
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """A one-time link. Looking at it changes nothing, so that previews of links do not use them up."""
    invitation = invitation_of(token)
    if invitation is None:
        return closed(request, token)
    form = EnterForm(request.POST if request.method == "POST" else None)
    problem = why_not_as_who_is_signed_in(request.user, invitation)
    if request.method == "POST" and not problem:
        needs_name = not invitation.user and not request.user.is_authenticated
        try:
            if not needs_name or form.is_valid():
                return come_in(request, invitation, form.cleaned_data.get("username", "") if needs_name else "")
        except Closed:
            return closed(request, token)
        except IntegrityError:
            form.add_error("username", "This name has just been taken; choose another.")
    context = {"invitation": invitation, "form": form, "problem": problem}
    status = 422 if request.method == "POST" else 200
    return private(render(request, "panel/enter.html", context, status=status))


def come_in(request: HttpRequest, invitation: Invitation, username: str) -> HttpResponse:
    if request.user.is_authenticated:
        redeem(invitation, person=request.user, source=source(request))
        return redirect("tenant", slug=invitation.tenant.slug)
    person = redeem(invitation, username, source=source(request))
    record_authentication(request, person, "link")
    return perform_login(request, person, email_verification="none", redirect_url=reverse("account_set_password"))


def why_not_as_who_is_signed_in(user: Any, invitation: Invitation) -> str:
    if not user.is_authenticated:
        return ""
    if invitation.user:
        return f"You are signed in as {user}. This link signs in {invitation.user}: sign out first to use it."
    if invitation.tenant is None:
        return f"You are signed in as {user}. This link is for somebody who has no account here yet."
    if Membership.objects.filter(tenant=invitation.tenant, user=user).exists():
        return f"You are in the team {invitation.tenant.name} already. The link stays unused."
    return ""


def closed(request: HttpRequest, token: str) -> HttpResponse:
    if request.method == "POST":
        note_closed(token, source(request))
    return private(render(request, "panel/enter_closed.html", status=410))


def private(response: HttpResponse) -> HttpResponse:
    """The address is a secret: no other page may learn it. With `no-referrer` browsers would post with Origin: null."""
    response["Referrer-Policy"] = "strict-origin"
    return response
