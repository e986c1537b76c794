"""People: who may sign in, and what they may do in the whole panel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import audit, breakglass, keys, policy
from jails.models import AuditEntry, Invitation, User
from panel import accounts
from panel.factors import factors_of, forget_factors
from panel.forms.people import InvitePersonForm, RoleForm
from panel.views.access import find, require, source

SIGN_IN_LIFETIME = timedelta(days=1)
LATELY = 8


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "user.view")
    people = User.objects.prefetch_related("operated_hosts", "memberships__tenant")
    invitations = accounts.open_invitations().filter(tenant__isnull=True, user__isnull=True)
    context = {
        "people": people.order_by("-is_active", "username"),
        "invitations": invitations.select_related("created_by").prefetch_related("operated_hosts"),
    }
    return render(request, "panel/people.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def invite(request: HttpRequest) -> HttpResponse:
    """Make a link for a new person; it is shown in the answer and never again."""
    require(request, "user.invite")
    form = InvitePersonForm(request.POST if request.method == "POST" else None, initial={"role": ""})
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data
        with transaction.atomic():
            invitation, token = Invitation.issue(label=wanted["label"], role=wanted["role"], created_by=request.user)
            invitation.operated_hosts.set(wanted["operated_hosts"])
            audit.record(
                "user.invite",
                actor=request.user,
                obj=invitation,
                after={"role": wanted["role"], "hosts": [host.name for host in wanted["operated_hosts"]]},
                source=source(request),
            )
        return shown_once(request, invitation, token, back="people")
    return render(request, "panel/person_invite.html", {"form": form}, status=422 if form.errors else 200)


def shown_once(request: HttpRequest, invitation: Invitation, token: str, back: str, *args: Any) -> HttpResponse:
    context = {"invitation": invitation, "link": accounts.link_to(token), "back": redirect(back, *args).url}
    return render(request, "panel/link.html", context)


@require_POST
@login_required
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    require(request, "user.invite")
    rows = accounts.open_invitations().filter(tenant__isnull=True)
    invitation = find(request, rows, "user.invite", pk=pk)
    accounts.withdraw(invitation, user=request.user, source=source(request))
    messages.success(request, f"The link for {invitation} no longer works.")
    return redirect("people")


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    person = find(request, User, "user.view", pk=pk)
    context = {
        "person": person,
        "hosts": person.operated_hosts.all(),
        "memberships": person.memberships.select_related("tenant"),
        "links": accounts.open_invitations().filter(user=person),
        "factors": factors_of(person),
        "entries": AuditEntry.objects.filter(actor_id=person.pk).defer("before", "after")[:LATELY],
    }
    return render(request, "panel/person.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def change(request: HttpRequest, pk: int) -> HttpResponse:
    person = find(request, User, "user.change", pk=pk)
    initial = {"role": person.role, "operated_hosts": person.operated_hosts.all()}
    form = RoleForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid() and save_role(request, person, form):
        return redirect("person", pk=person.pk)
    context = {"form": form, "person": person}
    return render(request, "panel/person_change.html", context, status=422 if form.errors else 200)


def save_role(request: HttpRequest, person: User, form: RoleForm) -> bool:
    wanted = form.cleaned_data
    with transaction.atomic():
        if accounts.is_last_administrator(person) and wanted["role"] != User.Role.ADMINISTRATOR:
            form.add_error("role", f"{person} is the last administrator: make somebody else one first.")
            return False
        before = facts_of(person)
        person.role = wanted["role"]
        person.save(update_fields=["role"])
        person.operated_hosts.set(wanted["operated_hosts"])
        keys.settle(person, actor=request.user, source=source(request))
        if not policy.is_administrator(person):
            breakglass.end_all(person, user=request.user, source=source(request))
        audit.record(
            "user.change", actor=request.user, obj=person, before=before, after=facts_of(person), source=source(request)
        )
    return True


def facts_of(person: User) -> dict[str, Any]:
    return {"role": person.role, "hosts": accounts.hosts_of(person), "active": person.is_active}


@require_POST
@login_required
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    """End a person's sessions and let them in no more. What they did and own stays."""
    person = find(request, User, "user.disable", pk=pk)
    problem = "You cannot disable yourself." if person == request.user else disable_person(request, person)
    if problem:
        messages.error(request, problem)
    else:
        messages.success(request, f"{person} is signed out everywhere and cannot sign in.")
    return redirect("person", pk=person.pk)


def disable_person(request: HttpRequest, person: User) -> str:
    """What is against it, or "" when it is done."""
    with transaction.atomic():
        if accounts.is_last_administrator(person):
            return f"{person} is the last administrator: make somebody else one first."
        before, person.is_active = facts_of(person), False
        person.save(update_fields=["is_active"])
        ended = accounts.end_sessions(person)
        links = accounts.open_invitations().filter(Q(user=person) | Q(created_by=person))
        withdrawn = links.update(expires_at=timezone.now())
        keys.settle(person, actor=request.user, source=source(request))
        if not policy.is_administrator(person):
            breakglass.end_all(person, user=request.user, source=source(request))
        audit.record(
            "user.disable",
            actor=request.user,
            obj=person,
            before=before,
            after=facts_of(person) | {"sessions_ended": ended, "links_withdrawn": withdrawn},
            source=source(request),
        )
    return ""


@require_POST
@login_required
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    person = find(request, User, "user.disable", pk=pk)
    with transaction.atomic():
        before, person.is_active = facts_of(person), True
        person.save(update_fields=["is_active"])
        audit.record(
            "user.enable", actor=request.user, obj=person, before=before, after=facts_of(person), source=source(request)
        )
    messages.success(request, f"{person} may sign in again.")
    return redirect("person", pk=person.pk)


@never_cache
@require_POST
@login_required
def link(request: HttpRequest, pk: int) -> HttpResponse:
    """A one-time link that signs this person in, for who forgot their password. An earlier one stops working."""
    person = find(request, User, "user.link", pk=pk)
    if not person.is_active:
        messages.error(request, f"{person} is disabled: enable them first.")
        return redirect("person", pk=person.pk)
    with transaction.atomic():
        accounts.open_invitations().filter(user=person).update(expires_at=timezone.now())
        invitation, token = Invitation.issue(
            label=f"sign-in link of {person}", user=person, created_by=request.user, lifetime=SIGN_IN_LIFETIME
        )
        audit.record("user.link", actor=request.user, obj=person, source=source(request))
    return shown_once(request, invitation, token, "person", person.pk)


@require_POST
@login_required
def sign_out(request: HttpRequest, pk: int) -> HttpResponse:
    """End a person's sessions, for one that was left open or is in strange hands. One's own, but this one."""
    person = find(request, User, "user.sign_out", pk=pk)
    here = request.session.session_key if person == request.user else None
    with transaction.atomic():
        ended = accounts.end_sessions(person, but=here or "")
        audit.record(
            "user.sign_out",
            actor=request.user,
            obj=person,
            after={"sessions_ended": ended},
            source=source(request),
        )
    elsewhere = " elsewhere" if here else ""
    if ended:
        text = f"{person} is signed out{elsewhere}: {ended} session{pluralize(ended)} ended."
    else:
        text = f"{person} was signed in nowhere{' else' if here else ''}."
    messages.success(request, text)
    return redirect("person", pk=person.pk)


@require_POST
@login_required
def factors(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a person's second factors, for who lost them."""
    person = find(request, User, "user.factors", pk=pk)
    forget_factors(person, actor=request.user, source=source(request))
    messages.success(request, f"{person} has no second factor any more and is signed out everywhere.")
    return redirect("person", pk=person.pk)
