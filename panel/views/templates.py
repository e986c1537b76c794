"""Templates: jails' trees kept as a start for others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.models import Jail, Template
from panel.context import shell_of
from panel.forms.templates import TemplateForm
from panel.views.access import find, require, require_on_a_host
from panel.views.planning import plan_from_button, plan_from_form, posted

RELATED_MAX = 100
OF_THE_SYSTEM = ("ssh host keys", "host ids", "entropy", "leases")
"""What cleaning.IDENTITY takes out of every template, in words."""
OF_PEOPLE = (
    "authorized keys",
    "ssh keys",
    "ssh known hosts",
    "stored passwords",
    "password hashes",
    "shell histories",
    "mail",
    "logs",
    "temporary files",
)
"""What cleaning.EVERYTHING takes out besides, where others than the jail's own tenant may use it."""


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "panel.overview")
    rows = policy.visible(request.user, Template).select_related("host", "tenant", "release")
    context = {
        "templates": rows.annotate(jail_count=Count("jails")).order_by("host__name", "name"),
        "may_create": any(policy.allowed(request.user, "template.create", host) for host in shell_of(request).hosts),
    }
    return render(request, "panel/templates.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def create(request: HttpRequest) -> HttpResponse:
    hosts = require_on_a_host(request, "template.create")
    rows = policy.visible(request.user, Jail).filter(host__in=hosts, managed=True).select_related("host", "tenant")
    chosen = _chosen(request)
    jails = list(rows.filter(state=Jail.State.STOPPED).order_by("name", "host__name"))
    initial = {"jail": str(chosen.uuid) if chosen else "", **_wanted(request, chosen)}
    form = TemplateForm(request.user, jails, posted(request), initial=initial)
    host = form.chosen.host if form.is_bound and form.is_valid() else None
    if host and (response := plan_from_form(request, form, "template_create", form.parameters(), host)):
        return response
    context = {
        "form": form,
        "jails": jails,
        "chosen": chosen,
        "of_the_system": OF_THE_SYSTEM,
        "of_people": OF_PEOPLE,
    }
    return render(request, "panel/template_form.html", context, status=422 if form.errors else 200)


def _chosen(request: HttpRequest) -> Jail | None:
    """The jail that is asked for. 404 where nobody may know of it, 403 where they may make no template of it."""
    uuids = [text for text in (request.POST or request.GET).getlist("jail")[:1] if _is_uuid(text)]
    if not uuids:
        return None
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), "template.create", uuid=uuids[0])
    return jail


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _wanted(request: HttpRequest, chosen: Jail | None) -> dict[str, Any]:
    owner = str(chosen.tenant_id) if chosen and chosen.tenant_id else ""
    return {"name": request.GET.get("name", ""), "tenant": request.GET.get("tenant", owner)}


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    rows = Template.objects.select_related("host", "tenant", "release")
    template = find(request, rows, "template.view", pk=pk)
    request.tree_host = template.host.name
    visible = policy.visible(request.user, Jail)
    context = {
        "template": template,
        "jails": visible.filter(template=template).order_by("name")[:RELATED_MAX],
        "source": visible.filter(host=template.host_id, name=template.source_jail).first(),
        "cleaned": cleaned(template),
        "to_clean": (*OF_THE_SYSTEM, *OF_PEOPLE),
    }
    return render(request, "panel/template.html", context)


def cleaned(template: Template) -> list[tuple[str, list[str]]]:
    """What was taken out of it, as its own tree has named it: (what, paths)."""
    found: dict[str, list[str]] = {}
    for what, path in template.cleaned:
        found.setdefault(what, []).append(path)
    return list(found.items())


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
