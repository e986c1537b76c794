"""What lies between a host that was added and one that can be used: the lines to paste there, its key, and a test."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from jails.freebsd import enrol
from jails.hosts.access import Access
from jails.hosts.hostkey import HostKey
from jails.models import Host, HostAccessRecord, Worker
from panel.forms.hosts import LOCAL_USER, CompareForm, SourceForm
from panel.views import live
from panel.views.access import find
from panel.views.hosts import pin, state_of, want_access

ED25519 = HostKey("ssh-ed25519", b"")
"""The type that a host is asked for first."""


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.access", name=name)
    request.tree_host = host.name
    if request.method == "POST" and "trust" in request.POST:
        return compare(request, host)
    if request.method == "POST":
        want_access(host)
        if not request.htmx:
            return redirect("host-access", name=host.name)
    return shown(request, host)


def compare(request: HttpRequest, host: Host) -> HttpResponse:
    """Pin the offered key: after a comparison by the panel of what was pasted, or by the eyes of who says so."""
    find(request, Host, "host.change", name=host.name)
    seen = request.POST["trust"]
    if seen and seen == host.offered_key and "by_eye" not in request.POST:
        form = CompareForm(host.offered, request.POST)
        if not form.is_valid():
            return shown(request, host, form)
    if pin(request, host, seen):
        messages.success(request, "The two are equal. The key is pinned, and the panel tests what it may do.")
    else:
        messages.error(request, "The host offers another key by now. Compare it again.")
    return redirect("host-access", name=host.name)


def shown(request: HttpRequest, host: Host, comparing: CompareForm | None = None) -> HttpResponse:
    record = HostAccessRecord.objects.filter(host=host).first()
    state = state_of(host)
    worker = state["worker"]
    mark = live.mark_of(
        host.changed_at,
        host.offered_key,
        host.host_key,
        worker.public_key if worker else "",
        state["worker_silent"],
        state["refreshing"],
        *((record.wanted_at, record.tested_at, record.is_under_way) if record else ()),
    )
    if live.has(request, mark):
        return HttpResponseNotModified()
    context = state | steps(request, host, record, worker) | {"mark": mark}
    if host.offered:
        context["comparing"] = comparing or CompareForm(host.offered)
    template = "panel/_host_access.html" if request.htmx else "panel/host_access.html"
    return live.marked(render(request, template, context, status=422 if comparing else 200), mark)


def steps(request: HttpRequest, host: Host, record: HostAccessRecord | None, worker: Worker | None) -> dict[str, Any]:
    """What each step shows, and which of them are done."""
    access = record.access if record else Access()
    is_under_way = record is not None and record.is_under_way
    is_ssh = host.kind == Host.Kind.SSH
    return {
        "is_ssh": is_ssh,
        "lines": lines(request, host, worker),
        "is_let_in": access.passes("sign_in" if is_ssh else "root") and access.passes("root"),
        "key": host.offered or host.pinned or ED25519,
        "record": record,
        "access": access,
        "is_under_way": is_under_way,
        "is_lost": record is not None and record.is_wanted and not is_under_way,
        "may_test": not is_ssh or bool(host.host_key),
        "is_waited_for": is_under_way or (is_ssh and not host.host_key and not host.offered_key),
    }


def lines(request: HttpRequest, host: Host, worker: Worker | None) -> dict[str, Any]:
    """The blocks to paste, or what is missing for them."""
    form = SourceForm(request.GET or None)
    source = form.cleaned_data["source"] if form.is_bound and form.is_valid() else ""
    become = host.becomes_root_by
    if host.kind == Host.Kind.LOCAL:
        user = LOCAL_USER if host.username in ("", "root") else host.username
        return {"user": user, "blocks": (enrol.becoming_root(user, become),) if become else ()}
    if host.kind != Host.Kind.SSH:
        return {"blocks": ()}
    found: dict[str, Any] = {"source_form": form, "user": host.username or "root", "blocks": ()}
    if worker is None or not worker.public_key:
        return found | {"missing": f"Worker {host.worker} has not started yet; its key is in these lines."}
    return found | {"blocks": enrol.blocks(found["user"], worker.public_key, become=become, source=source)}
