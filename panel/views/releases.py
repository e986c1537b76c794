"""Releases on hosts: fetch, look at, vouch for, remove."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.freebsd.uname import eol_of
from jails.models import Host, Jail, Release, Template, TrustedManifest
from jails.operations import release_fetch
from jails.operations.kind import Refused
from panel.context import shell_of
from panel.forms.releases import FetchForm, TrustForm, known_releases, offered, own_release
from panel.views.access import find, require, require_on_a_host, source
from panel.views.planning import add_errors, plan_from_button, plan_from_form, posted

RELATED_MAX = 100


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "panel.overview")
    counted = {
        "jail_count": Count("jails", distinct=True),
        "running": Count("jails", filter=Q(jails__state=Jail.State.RUNNING), distinct=True),
        "template_count": Count("templates", distinct=True),
    }
    rows = policy.visible(request.user, Release).select_related("host").annotate(**counted)
    context = {
        "releases": [{"release": row, **end_of(row.name)} for row in rows.order_by("host__name", "-name")],
        "offers": policy.visible(request.user, TrustedManifest).filter(confirmed_at__isnull=True),
        "vouched": policy.visible(request.user, TrustedManifest)
        .filter(confirmed_at__isnull=False)
        .select_related("confirmed_by"),
        "may_fetch": any(policy.allowed(request.user, "release.fetch", host) for host in shell_of(request).hosts),
    }
    return render(request, "panel/releases.html", context)


def end_of(release: str) -> dict[str, Any]:
    """Until when a release is supported, and whether that is over."""
    end = eol_of(release)
    return {"end_of_life": end, "past_end": end is not None and end < timezone.now().date()}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def fetch(request: HttpRequest) -> HttpResponse:
    hosts = require_on_a_host(request, "release.fetch")
    if name := (request.POST or request.GET).get("host", ""):
        find(request, Host, "release.fetch", name=name.replace("\0", ""))
    first = next((host for host in hosts if host.name == name), hosts[0] if hosts else None)
    defaults = {"host": first.name, "release": own_release(first)} if first else {}
    form = FetchForm(hosts, posted(request), initial=defaults | offered(request.GET))
    host = form.chosen_host if form.is_bound and form.is_valid() else None
    if host and (response := plan_from_form(request, form, "release_fetch", form.parameters(), host)):
        return response
    context = {"form": form, "known": known_releases(hosts)}
    return render(request, "panel/release_form.html", context, status=422 if form.errors else 200)


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    release = find(request, Release.objects.select_related("host"), "release.view", pk=pk)
    request.tree_host = release.host.name
    context = {
        "release": release,
        "jails": policy.visible(request.user, Jail)
        .filter(release=release, template=None)
        .order_by("name")[:RELATED_MAX],
        "templates": policy.visible(request.user, Template).filter(release=release).order_by("name")[:RELATED_MAX],
        "jails_below": policy.visible(request.user, Jail).filter(template__release=release).count(),
        **end_of(release.name),
    }
    return render(request, "panel/release.html", context)


@require_POST
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    release = find(request, Release.objects.select_related("host"), "release.remove", pk=pk)
    back = reverse("release", args=[release.pk])
    return plan_from_button(request, "release_remove", {"release": release.pk}, release.host, back=back)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def trust(request: HttpRequest, pk: int) -> HttpResponse:
    """Vouch for a MANIFEST that was offered, once its digest was compared."""
    offer = find(request, TrustedManifest, "release.trust", pk=pk)
    if offer.is_confirmed:
        messages.info(request, f"{offer} is trusted already.")
        return redirect("releases")
    form = TrustForm(offer, posted(request))
    if request.method == "POST" and form.is_valid() and _trusted(request, offer, form):
        messages.success(request, f"{offer} is trusted now: fetch the release again.")
        return redirect("releases")
    return render(
        request, "panel/release_trust.html", {"offer": offer, "form": form}, status=422 if form.errors else 200
    )


def _trusted(request: HttpRequest, offer: TrustedManifest, form: TrustForm) -> bool:
    try:
        release_fetch.trust(offer, request.user, form.cleaned_data["digest"], source=source(request))
    except Refused as refused:
        add_errors(form, refused)
        return False
    return True
