"""Releases on hosts: fetch, look at, trust, remove."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.models import Release
from panel.views.access import find, require, require_on_a_host
from panel.views.planning import plan_from_button


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "panel.overview")
    releases = policy.visible(request.user, Release).select_related("host")
    return render(request, "panel/releases.html", {"releases": releases})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def fetch(request: HttpRequest) -> HttpResponse:
    require_on_a_host(request, "release.fetch")
    return render(request, "panel/release_form.html")


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    release = find(request, Release, "release.view", pk=pk)
    return render(request, "panel/release.html", {"release": release})


@require_POST
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    release = find(request, Release.objects.select_related("host"), "release.remove", pk=pk)
    back = reverse("release", args=[release.pk])
    return plan_from_button(request, "release_remove", {"release": release.pk}, release.host, back=back)
