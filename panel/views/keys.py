"""SSH keys: those on one's own profile, and who gets into a jail with which."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from jails import audit, keys, policy
from jails.freebsd.logins import login_error
from jails.models import Jail, JailKey, SshKey, Tenant, User
from jails.operations import power
from panel import step_up
from panel.forms.keys import AccessForm, KeyForm
from panel.views.access import find, refuse, source
from panel.views.planning import plan_from_button, plan_from_form, posted

GET_AND_POST = require_http_methods(["GET", "HEAD", "POST"])
SSH_PORT = 22


@GET_AND_POST
@login_required
def own(request: HttpRequest) -> HttpResponse:
    """The keys on one's profile, and a form for one more."""
    if request.method == "POST":
        step_up.ask(request)
    form = KeyForm(request.user, posted(request))
    if request.method == "POST" and form.is_valid() and _add(request, form):
        messages.success(request, "The key is on your profile. It opens no jail until you give it access to one.")
        return redirect("account-keys")
    rows = SshKey.objects.filter(user=request.user)
    used = dict(
        JailKey.objects.filter(user=request.user)
        .order_by()
        .values_list("fingerprint")
        .annotate(n=Count("jail", distinct=True))
    )
    context = {"form": form, "keys": [(row, used.get(row.fingerprint, 0)) for row in rows]}
    return render(request, "panel/account_keys.html", context, status=422 if form.errors else 200)


def _add(request: HttpRequest, form: KeyForm) -> bool:
    try:
        with transaction.atomic():
            row = form.save()
            after = {"name": row.name, "type": row.type, "fingerprint": row.fingerprint}
            audit.record("user.key_add", actor=request.user, obj=request.user, after=after, source=source(request))
    except IntegrityError:
        form.add_error("text", "You have this key already.")
        return False
    return True


@GET_AND_POST
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """What a key opens, before it goes from the profile and out of all of that."""
    row = get_object_or_404(SshKey, pk=pk, user=request.user)
    if request.method == "POST":
        count = keys.give_up(row, source=source(request))
        out = f" It is being taken out of {count} login{'s' * (count != 1)}." if count else ""
        messages.success(request, f"{row.name} is no longer on your profile.{out}")
        return redirect("account-keys")
    places = JailKey.objects.filter(user=request.user, fingerprint=row.fingerprint).select_related("jail")
    seen = set(policy.visible(request.user, Jail).filter(keys__in=places).values_list("pk", flat=True))
    context = {
        "key": row,
        "places": [place for place in places if place.jail_id in seen],
        "elsewhere": sum(place.jail_id not in seen for place in places),
    }
    return render(request, "panel/account_key_remove.html", context)


@GET_AND_POST
@login_required
def of_jail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Logins of a jail and whose keys open them. A post gives one's own keys access, or takes somebody's out."""
    jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.view", uuid=uuid)
    request.tree_host = jail.host.name
    if request.method == "POST" and "take" in request.POST:
        return _take(request, jail)
    if request.method == "POST" and not policy.allowed(request.user, "jail.keys", jail):
        refuse(request, "jail.keys", jail)
    form = AccessForm(request.user, jail, posted(request), initial=_initial(request, jail))
    valid = request.method == "POST" and form.is_valid()
    if valid and (response := plan_from_form(request, form, "keys_change", form.parameters(), jail.host)):
        return response
    return _jail_page(request, jail, form)


def _initial(request: HttpRequest, jail: Jail) -> dict[str, Any]:
    """A login that is there already, one's own before others, with what one has there."""
    found = keys.known_to(request.user, JailKey.objects.filter(jail=jail)).order_by("pk")
    rows = list(found.values_list("login", "user_id", "fingerprint"))
    own = [row for row in rows if row[1] == request.user.pk]
    login = next((row[0] for row in (*own, *rows)), "")
    return {
        "login": login,
        "keys": [row[2] for row in own if row[0] == login],
        "sshd": jail.addresses.exists(),
    }


def _jail_page(request: HttpRequest, jail: Jail, form: AccessForm) -> HttpResponse:
    rows = list(keys.known_to(request.user, JailKey.objects.filter(jail=jail)).select_related("user", "removal"))
    may_revoke = policy.allowed(request.user, "jail.revoke", jail)
    people: dict[tuple[str, User], list[JailKey]] = {}
    for row in rows:
        people.setdefault((row.login, row.user), []).append(row)
    addresses = [one.ip for one in jail.addresses.order_by("pk")] or list(jail.observed_addresses)
    logins: dict[str, list[dict[str, Any]]] = {}
    for (login, person), found in people.items():
        may_take = may_revoke or person == request.user
        logins.setdefault(login, []).append({"person": person, "keys": found, "may_take": may_take})
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "form": form,
        "logins": [(login, _ssh_lines(login, addresses), found) for login, found in logins.items()],
        "may_give": policy.allowed(request.user, "jail.keys", jail) and not why_not(jail),
        "why_not": why_not(jail),
        "addresses": addresses,
    }
    return render(request, "panel/jail_access.html", context, status=422 if form.errors else 200)


def _ssh_lines(login: str, addresses: list[str]) -> list[str]:
    return [f"ssh {login}@{ip}" for ip in addresses]


def why_not(jail: Jail) -> str:
    """Why the panel puts no keys into it: a sentence, or "". What its host is like is asked by the plan."""
    if not jail.is_kept:
        return "The panel did not make this jail, and puts no keys into it."
    if jail.state == Jail.State.PENDING:
        return "It is still being made."
    if power.is_with_tool(jail) and jail.state != Jail.State.RUNNING:
        return "It does not run: start it first."
    return ""


def _take(request: HttpRequest, jail: Jail) -> HttpResponse:
    person = User.objects.filter(pk=_number(request.POST.get("take", ""))).first()
    login = request.POST.get("login", "")
    is_own = person == request.user
    if not is_own and not policy.allowed(request.user, "jail.revoke", jail):
        refuse(request, "jail.revoke", jail)
    if person is None or login_error(login):
        raise Http404
    if not keys.known_to(request.user, JailKey.objects.filter(jail=jail, login=login, user=person)).exists():
        raise Http404
    wish = {"jail": str(jail.uuid), "login": login, "person": person.pk, "keys": [], "sshd": False}
    return plan_from_button(request, "keys_change", wish, jail.host, back=reverse("jail-access", args=[jail.uuid]))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def leaving(tenant: Tenant, user: User) -> QuerySet[JailKey]:
    """Keys that should be out of the tenant's jails, and are not yet, as far as the person may know of them."""
    rows = keys.known_to(user, JailKey.objects.filter(jail__tenant=tenant, leaving_since__isnull=False))
    return rows.select_related("jail", "jail__host", "jail__tenant", "user", "removal").order_by("leaving_since", "pk")


@require_POST
@login_required
def again(request: HttpRequest, slug: str) -> HttpResponse:
    """Try once more to take out what is stuck."""
    tenant = find(request, Tenant, "tenant.members", slug=slug)
    mine = [
        row
        for row in leaving(tenant, request.user)
        if row.is_stuck and policy.allowed(request.user, "jail.revoke", row.jail)
    ]
    with transaction.atomic():
        count = keys.leave(mine, actor=request.user, source=source(request))
    if count:
        messages.success(request, f"Tried again: {count} key{'s' * (count != 1)}.")
    return redirect("tenant", slug=slug)
