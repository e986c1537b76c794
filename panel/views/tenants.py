from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.models import Tenant
from panel.views.access import find, require


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "panel/tenants.html", {"tenants": policy.visible(request.user, Tenant)})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest) -> HttpResponse:
    require(request, "tenant.add")
    return redirect("tenants")


@require_safe
@login_required
def page(request: HttpRequest, slug: str) -> HttpResponse:
    tenant = find(request, Tenant, "tenant.view", slug=slug)
    return render(request, "panel/tenant.html", {"tenant": tenant})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def invite(request: HttpRequest, slug: str) -> HttpResponse:
    find(request, Tenant, "tenant.invite", slug=slug)
    return redirect("tenant", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def archive(request: HttpRequest, slug: str) -> HttpResponse:
    find(request, Tenant, "tenant.archive", slug=slug)
    return redirect("tenant", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def member(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    find(request, Tenant, "tenant.members", slug=slug)
    return redirect("tenant", slug=slug)


@require_POST
@login_required
def withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    find(request, Tenant, "tenant.invite", slug=slug)
    return redirect("tenant", slug=slug)
