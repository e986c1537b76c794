"""What is asked before a jail is made or changed: each form ends in a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from jails import plans
from jails.freebsd import names, parameters
from jails.hosts.facts import HostFacts, Missing
from jails.models import Host, Jail, Operation
from jails.models.release import Storage
from jails.operations import common, jailfile, layout, power
from jails.operations import kind as kinds
from jails.operations.kind import Refused
from jails.operations.step import Plan
from panel.forms.addresses import networks_of
from panel.forms.fields import format_size
from panel.forms.jails import (
    ChangeForm,
    CreateForm,
    DestroyForm,
    GiveForm,
    RenameForm,
    address_values,
)
from panel.views.access import find, require_on_a_host
from panel.views.planning import add_errors, facts_of, field_of, plan_from_form, posted, preview

GET_AND_POST = require_http_methods(["GET", "HEAD", "POST"])
REDRAWN = ("more", "show")
"""Buttons of a form that only draw it anew: one more address, what another host has to offer."""


@GET_AND_POST
@login_required
def create(request: HttpRequest) -> HttpResponse:
    hosts = require_on_a_host(request, "jail.create")
    host = _host(request, hosts)
    if host is None:
        return render(request, "panel/jail_create.html", {"form": None})
    request.tree_host = host.name
    if request.method != "POST" or any(name in request.POST for name in REDRAWN):
        form = CreateForm(request.user, hosts, host, initial=_given(request, host))
        return _create_page(request, form)
    form = CreateForm(request.user, hosts, host, request.POST)
    if form.is_valid() and (response := plan_from_form(request, form, "jail_create", form.parameters(), host)):
        return response
    return _create_page(request, form, status=422)


def _host(request: HttpRequest, hosts: list[Host]) -> Host | None:
    """The one that was chosen, or the first. 404 or 403 for one that the person may not make jails on."""
    name = (request.POST if request.method == "POST" else request.GET).get("host", "")
    if name:
        chosen: Host = find(request, Host, "jail.create", name=name.replace("\0", ""))
        return chosen
    return hosts[0] if hosts else None


def _given(request: HttpRequest, host: Host) -> dict[str, Any]:
    """Values for a form that is drawn, not checked: of a button that redraws it, or of an address with values."""
    query = request.POST if request.method == "POST" else request.GET
    if "name" not in query:
        return {"network-0": _first_network(host)} | {one: query[one] for one in ("base", "tenant") if one in query}
    values = {name: query[name] for name in query if name != "csrfmiddlewaretoken"}
    return values | {name: query.get(name) == "on" for name in ("boot", "start")}


def _first_network(host: Host) -> str:
    networks = networks_of(host)
    return str(networks[0].pk) if networks else ""


def _create_page(request: HttpRequest, form: CreateForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "host": form.host, "summary": create_summary(form)}
    return render(request, "panel/jail_create.html", context, status=status)


@require_POST
@login_required
def create_check(request: HttpRequest) -> HttpResponse:
    """While one types: what is wrong with the fields that are filled in, and what the jail would be."""
    hosts = require_on_a_host(request, "jail.create")
    host = _host(request, hosts)
    if host is None:
        return HttpResponse(status=204)
    form = CreateForm(request.user, hosts, host, request.POST)
    plan = check_create(form)
    context = {"form": form, "host": host, "summary": create_summary(form, plan), "fields": _notes(form)}
    return render(request, "panel/_jail_create_check.html", context)


def check_create(form: CreateForm) -> Plan | None:
    """Say at the fields what the plan would refuse, as far as can be told. The plan, where nothing is refused."""
    form.is_valid()
    wish = form.parameters()
    try:
        if not form.errors:
            return preview("jail_create", wish, form.host)
        kinds.get("jail_create").clean(wish)
    except Refused as refused:
        _add_new_errors(form, refused)
    for refused in _refusals(form, wish):
        _add_new_errors(form, refused)
    return None


def _refusals(form: CreateForm, wish: Mapping[str, Any]) -> Iterator[Refused]:
    """What can be told of a form that is half filled in: each name and address by itself, and the tenant's plan."""
    try:
        plans.refuse(kinds.get("jail_create"), form.host, wish)
    except Refused as refused:
        yield refused
    try:
        facts = facts_of(form.host)
    except Refused as refused:
        yield refused
        return
    try:
        named = wish["name"] and "name" not in form.errors
        if named and (taken := common.name_taken(form.host, facts, wish["name"])):
            yield Refused({"name": taken})
    except Missing:
        return
    for address in wish["addresses"]:
        yield from _address_refusal(form.host, facts, address)


def _address_refusal(host: Host, facts: HostFacts, address: Mapping[str, Any]) -> Iterator[Refused]:
    try:
        common.resolve_addresses(host, facts, [address])
    except Refused as refused:
        yield refused
    except Missing:
        return


def _add_new_errors(form: CreateForm, refused: Refused) -> None:
    """At each field one reason is enough, and none for what is not filled in yet."""
    for parameter, text in refused.errors.items():
        field = field_of(form, parameter, text)
        is_new = field not in form.errors and form[field].value() if field else not form.errors
        if is_new:
            add_errors(form, Refused({parameter: text}))


def _notes(form: CreateForm) -> list[Any]:
    """The fields whose messages are sent: an empty one says nothing before the form is sent."""
    rows = [field for row in form.rows for field in (row.network, row.ip)]
    of_base = [form["base"], form["kind"]] if form.bases else []
    fields = [form["name"], *of_base, form["hostname"], *rows, *form.limit_fields]
    fields += [form["tenant"]] if form.tenants else []
    for field in fields:
        if not field.value() and field.name in form.errors:
            del form.errors[field.name]
    return fields


def create_summary(form: CreateForm, plan: Plan | None = None) -> dict[str, Any]:
    """What the jail would be, as far as the form says: for the lines beside it."""
    name = str(form["name"].value() or "")
    name = name if name and names.jail_name_error(name.strip(" ")) is None else ""
    base, host = form.chosen_base, form.host
    pool = next(iter(host.pools.all()), None) if not host.pool else host.pools.filter(name=host.pool).first()
    on_zfs = base is not None and base.storage == Storage.ZFS
    return {
        "name": name.strip(" "),
        "base": base,
        "thin": form["kind"].value() == "thin",
        "on_zfs": on_zfs,
        "dataset": layout.jail_dataset(pool.name, form.chosen_tenant, name) if name and on_zfs and pool else "",
        "path": layout.jail_path(host, name) if name else "",
        "file": layout.config_path(name) if name else "",
        "hostname": form["hostname"].value() or (form.default_hostname(name) if name else ""),
        "addresses": [row.ip.value() or row.free for row in form.rows if row.network.value()],
        "pool": pool if on_zfs else None,
        "boot": form["boot"].value(),
        "start": form["start"].value(),
        "tenant": form.chosen_tenant,
        "plan": plan,
    }


@GET_AND_POST
@login_required
def change(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = _changeable(request, "jail.change", uuid)
    if isinstance(jail, HttpResponse):
        return jail
    if request.method != "POST" or any(name in request.POST for name in REDRAWN):
        form = ChangeForm(request.user, jail, initial=_change_given(request))
        return _change_page(request, jail, form)
    form = ChangeForm(request.user, jail, request.POST)
    if form.is_valid() and (response := plan_from_form(request, form, "jail_change", form.parameters(), jail.host)):
        return response
    return _change_page(request, jail, form, status=422)


def _change_given(request: HttpRequest) -> dict[str, Any] | None:
    query = request.POST if request.method == "POST" else request.GET
    if "hostname" not in query:
        return None
    values = {name: query[name] for name in query if name != "csrfmiddlewaretoken"}
    return values | {name: query.get(name) == "on" for name in ("boot", "snapshot")}


def _change_page(request: HttpRequest, jail: Jail, form: ChangeForm, status: int = 200) -> HttpResponse:
    limits = [(field, takes(jail, jailfile.LIMITS.get(field.name, field.name))) for field in form.limit_fields]
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "form": form,
        "limits": limits,
        "takes": {
            "hostname": takes(jail, "host.hostname"),
            "addresses": takes(jail, "ip4.addr"),
            "boot": takes(jail, "boot"),
        },
    }
    return render(request, "panel/jail_change.html", context, status=status)


def takes(jail: Jail, name: str) -> dict[str, Any]:
    """What it takes until a new value holds: of a parameter of jail(8), of `boot` or of `quota`."""
    if name == "boot":
        return {"restart": False, "words": "Counts when the host boots next."}
    if name == "quota":
        return {"restart": False, "words": "Holds at once, running or not."}
    if name in jailfile.RULES and jail.state == Jail.State.RUNNING:
        return {"restart": False, "words": "Holds at once, by rctl."}
    if jail.state != Jail.State.RUNNING:
        return {"restart": False, "words": "Holds when it next starts."}
    change = parameters.change(name)
    if change is parameters.Change.LIVE:
        return {"restart": False, "words": "Holds at once, by jail -m."}
    if change is parameters.Change.FILE:
        return {"restart": False, "words": "Holds when it next starts or stops."}
    return {"restart": True, "words": "Needs a restart: it is stopped with the old file and started with the new one."}


@GET_AND_POST
@login_required
def rename(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = _changeable(request, "jail.rename", uuid)
    if isinstance(jail, HttpResponse):
        return jail
    form = RenameForm(jail, posted(request), initial={"name": request.GET.get("name", jail.name)})
    if request.method == "POST" and form.is_valid():
        wish = {"jail": str(jail.uuid), "name": form.cleaned_data["name"]}
        if response := plan_from_form(request, form, "jail_rename", wish, jail.host):
            return response
    context = {"jail": jail, "tree_jail": jail.pk, "form": form}
    return render(request, "panel/jail_rename.html", context, status=422 if form.errors else 200)


@GET_AND_POST
@login_required
def destroy(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Names what would be lost before anything is typed: all of it comes from the plan."""
    jail = _changeable(request, "jail.destroy", uuid)
    if isinstance(jail, HttpResponse):
        return jail
    form = DestroyForm(jail, posted(request))
    wish = {"jail": str(jail.uuid), "name": jail.name}
    valid = request.method == "POST" and form.is_valid()
    if valid and (response := plan_from_form(request, form, "jail_destroy", wish, jail.host)):
        return response
    plan, refused = _preview("jail_destroy", wish, jail.host)
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "form": form,
        "plan": plan,
        "refused": refused,
        "gone": (plan.sizes or plan.loses) if plan else (),
        "members": jail.tenant.memberships.count() if jail.tenant else 0,
    }
    return render(request, "panel/jail_destroy.html", context, status=422 if form.errors else 200)


def _preview(kind: str, wish: Mapping[str, Any], host: Host) -> tuple[Plan | None, list[str]]:
    """The plan, or why there is none."""
    try:
        return preview(kind, wish, host), []
    except Refused as refused:
        return None, list(refused.errors.values())


@GET_AND_POST
@login_required
def give(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = _changeable(request, "jail.give", uuid)
    if isinstance(jail, HttpResponse):
        return jail
    form = GiveForm(request.user, jail, posted(request), initial={"tenant": request.GET.get("tenant", "")})
    if request.method == "POST" and form.is_valid():
        wish = {"jails": [str(jail.uuid)], "tenant": form.tenant_id()}
        if response := plan_from_form(request, form, "jail_give", wish, jail.host):
            return response
    context = {"jail": jail, "tree_jail": jail.pk, "form": form}
    return render(request, "panel/jail_give.html", context, status=422 if form.errors else 200)


def _changeable(request: HttpRequest, action: str, uuid: UUID) -> Jail | HttpResponse:
    """The jail; or back to its page, which says why, for one that the panel did not make or is still making."""
    rows = Jail.objects.select_related("host", "tenant", "release", "template").prefetch_related("addresses")
    jail: Jail = find(request, rows, action, uuid=uuid)
    request.tree_host = jail.host.name
    may_be = {"jail.change": not power.is_with_tool(jail), "jail.give": True}.get(action, False)
    if (jail.managed or (jail.adoption and may_be)) and jail.state != Jail.State.PENDING:
        return jail
    if jail.adoption:
        messages.error(request, _why_not_adopted(jail, action))
        return redirect("jail", uuid=jail.uuid)
    why = "is still being made" if jail.managed else "was not made by the panel, which leaves its file and tree alone"
    messages.error(request, f"{jail.name} {why}.")
    return redirect("jail", uuid=jail.uuid)


def _why_not_adopted(jail: Jail, action: str) -> str:
    if action == "jail.change":
        made_by = jail.get_manager_display()
        return f"{jail.name} is adopted beside {made_by}, which keeps its configuration: change it with {made_by}."
    return f"{jail.name} was adopted, and its tree is not the panel's: give it back first, then do it on the host."


def form_url(operation: Operation) -> str:
    """The form that a plan came from, with its values in the query; "" where there was none."""
    make = FORM_URLS.get(operation.kind)
    try:
        return make(operation.parameters, operation) if make else ""
    except (KeyError, TypeError, AttributeError):
        # Parameters of an older version.
        return ""


def _create_url(wish: Mapping[str, Any], operation: Operation) -> str:
    base = f"release:{wish['release']}" if wish["release"] else f"template:{wish['template']}"
    values = {
        "host": operation.host_name,
        "name": wish["name"],
        "base": base,
        "kind": wish["kind"],
        "hostname": wish["hostname"],
        "start": "on" if wish["start"] else "",
        "tenant": wish["tenant"] or "",
        **_shared_values(wish),
    }
    return _with_values(reverse("jail-create"), values)


def _change_url(wish: Mapping[str, Any], operation: Operation) -> str:
    return _with_values(
        reverse("jail-change", args=[wish["jail"]]), {"hostname": wish["hostname"], **_shared_values(wish)}
    )


def _shared_values(wish: Mapping[str, Any]) -> dict[str, Any]:
    limits = {name: "" if value is None else value for name, value in wish["limits"].items()}
    limits |= {name: format_size(limits[name]) for name in ("quota", "memory") if isinstance(limits.get(name), int)}
    addresses = address_values((address["network"], address["ip"]) for address in wish["addresses"])
    return {"boot": "on" if wish["boot"] else "", **limits, **addresses}


def _rename_url(wish: Mapping[str, Any], operation: Operation) -> str:
    return _with_values(reverse("jail-rename", args=[wish["jail"]]), {"name": wish["name"]})


def _destroy_url(wish: Mapping[str, Any], operation: Operation) -> str:
    return reverse("jail-destroy", args=[wish["jail"]])


def _give_url(wish: Mapping[str, Any], operation: Operation) -> str:
    if len(wish["jails"]) != 1:
        return ""
    return _with_values(reverse("jail-give", args=[wish["jails"][0]]), {"tenant": wish["tenant"] or ""})


def _drift_url(wish: Mapping[str, Any], operation: Operation) -> str:
    values = [("parameter", name) for name in wish["parameters"] or ()]
    return f"{reverse('jail-drift', args=[wish['jail']])}?{urlencode(values)}"


def _fetch_url(wish: Mapping[str, Any], operation: Operation) -> str:
    values = {name: wish[name] for name in ("release", "architecture", "source")}
    return _with_values(reverse("release-fetch"), {"host": operation.host_name, **values})


def _template_url(wish: Mapping[str, Any], operation: Operation) -> str:
    values = {"jail": wish["jail"], "name": wish["name"], "tenant": wish["tenant"] or ""}
    return _with_values(reverse("template-create"), values)


FORM_URLS = {
    "jail_create": _create_url,
    "jail_change": _change_url,
    "jail_rename": _rename_url,
    "jail_destroy": _destroy_url,
    "jail_give": _give_url,
    "drift_repair": _drift_url,
    "drift_accept": _drift_url,
    "release_fetch": _fetch_url,
    "template_create": _template_url,
}


def _with_values(url: str, values: Mapping[str, Any]) -> str:
    return f"{url}?{urlencode(values)}"
