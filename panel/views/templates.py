"""Templates: jails' trees kept as a start for others."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.models import Template
from panel.views.access import find, require, require_on_a_host
from panel.views.planning import plan_from_button


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "panel.overview")
    templates = policy.visible(request.user, Template).select_related("host", "tenant", "release")
    return render(request, "panel/templates.html", {"templates": templates})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def create(request: HttpRequest) -> HttpResponse:
    require_on_a_host(request, "template.create")
    return render(request, "panel/template_form.html")


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    template = find(request, Template, "template.view", pk=pk)
    return render(request, "panel/template.html", {"template": template})


@require_POST
@login_required
def publish(request: HttpRequest, pk: int) -> HttpResponse:
    template = find(request, Template.objects.select_related("host"), "template.publish", pk=pk)
    back = reverse("template", args=[template.pk])
    return plan_from_button(request, "template_publish", {"template": template.pk}, template.host, back=back)


@require_POST
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    template = find(request, Template.objects.select_related("host"), "template.remove", pk=pk)
    back = reverse("template", args=[template.pk])
    return plan_from_button(request, "template_remove", {"template": template.pk}, template.host, back=back)
