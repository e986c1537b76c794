"""The snapshots of a jail: what there is, and plans that take, destroy and put back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import plans, policy, sandboxes, selfservice
from jails.hosts.data import decode
from jails.hosts.zfs_reader import Snapshot
from jails.models import HostFactsRecord, Jail, Operation
from jails.models.agreement import Side
from jails.operations import file_restore, sandbox_create, snapshots
from jails.operations import kind as kinds
from panel.forms.snapshots import MomentForm, SandboxForm, SnapshotForm
from panel.views import looks
from panel.views.access import find, source
from panel.views.planning import plan_from_button, plan_from_form, posted

A_PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """`take` makes one. `back` is the name of one to put the jail back to, `keep` and `let_go` of one that is to stay
    or may go again; else those that are ticked are destroyed.

    Asked for with `at` and `zone` it also shows the one that comes next before that moment.
    """
    action = "jail.snapshot" if request.method == "POST" else "jail.view"
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), action, uuid=uuid)
    request.tree_host = jail.host.name
    if request.method != "POST":
        return _page(request, jail, SnapshotForm())
    if "take" in request.POST:
        return _take(request, jail)
    back = reverse("jail-snapshots", args=[jail.uuid])
    if name := request.POST.get("back"):
        wish = {"jail": str(jail.uuid), "snapshot": name}
        return plan_from_button(request, "jail_rollback", wish, jail.host, back)
    for name, kind in (("keep", "snapshot_hold"), ("let_go", "snapshot_release")):
        if name in request.POST:
            wish = {"jail": str(jail.uuid), "snapshot": request.POST[name]}
            if why_not := kinds.get(kind).why_not_for(request.user, jail.host, wish):
                messages.error(request, why_not)
                return redirect(back)
            return plan_from_button(request, kind, wish, jail.host, back)
    wish = {"jail": str(jail.uuid), "snapshots": request.POST.getlist("snapshots")}
    return plan_from_button(request, "snapshot_destroy", wish, jail.host, back)


def _take(request: HttpRequest, jail: Jail) -> HttpResponse:
    form = SnapshotForm(request.POST)
    wish = {"jail": str(jail.uuid)}
    if form.is_valid():
        wish |= {"name": form.cleaned_data["name"], "note": form.cleaned_data["note"]}
        if response := plan_from_form(request, form, "snapshot_create", wish, jail.host):
            return response
    return _page(request, jail, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def sandbox(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """A copy of the jail as it was at `snapshot`, under a name of its own."""
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.sandbox", uuid=uuid)
    request.tree_host = jail.host.name
    wanted = (request.POST if request.method == "POST" else request.GET).get("snapshot", "")
    found, _ = ([], None) if snapshots.why_none(jail) else of_jail(jail)
    snapshot = next((one for one in found if snapshots.short(one) == wanted), None)
    if snapshot is None:
        messages.error(request, f"{jail.name} has no snapshot of that name: choose one of the list.")
        return redirect("jail-snapshots", jail.uuid)
    days = sandbox_create.DAYS
    given = {"name": f"{jail.name[:40]}-sandbox", "quota": jail.limits.get("quota"), "days": days, "start": True}
    form = SandboxForm(posted(request), initial=given)
    if form.is_valid():
        wish = {"jail": str(jail.uuid), "snapshot": wanted, **form.cleaned_data}
        for field, text in selfservice.why_not_sandbox(request.user, jail, wish).items():
            form.add_error(field or None, text)
        if form.is_valid() and (response := plan_from_form(request, form, "sandbox_create", wish, jail.host)):
            return response
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "form": form,
        "name": wanted,
        "at": snapshots.taken_at(snapshot),
    }
    return render(request, "panel/jail_sandbox.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def extend(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Give a sandbox more time."""
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.sandbox", uuid=uuid)
    try:
        row = sandboxes.extend(jail, user=request.user, source=source(request))
    except sandboxes.CannotExtend as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{row.name} now has time until {row.expires_at:%Y-%m-%d %H:%M} UTC.")
    return redirect("jail", jail.uuid)


def _page(request: HttpRequest, jail: Jail, form: SnapshotForm, status: int = 200) -> HttpResponse:
    why_none = snapshots.why_none(jail)
    found, seen_at = ([], None) if why_none else of_jail(jail)
    rows = Paginator(found, A_PAGE).get_page(request.GET.get("page"))
    context = _at_moment(request, jail, found) | {
        "jail": jail,
        "tree_jail": jail.pk,
        "form": form,
        "why_none": why_none,
        "rows": _rows(request, jail, rows.object_list),
        "pages": rows,
        "seen_at": seen_at,
        "share": _share(jail),
        "kept": snapshots.KEPT,
    }
    return render(request, "panel/jail_snapshots.html", context, status=status)


def _at_moment(request: HttpRequest, jail: Jail, found: list[Snapshot]) -> dict[str, Any]:
    """The newest snapshot that is not later than what was asked for, and the newer ones that going back would cost."""
    if "at" not in request.GET or not found or not policy.allowed(request.user, "jail.snapshot", jail):
        return {"moment_form": MomentForm()}
    form = MomentForm(request.GET)
    if not form.is_valid():
        return {"moment_form": form}
    moment = form.cleaned_data["moment"]
    at = next((number for number, one in enumerate(found) if snapshots.taken_at(one) <= moment), None)
    answer: dict[str, Any] = {"moment": moment, "oldest": snapshots.taken_at(found[-1])}
    if at is not None:
        taken = snapshots.taken_at(found[at])
        answer |= {
            "name": snapshots.short(found[at]),
            "at": taken,
            "off": (moment - taken).total_seconds(),
            "newer": [snapshots.short(one) for one in found[:at]],
        }
    return {"moment_form": form, "answer": answer}


@require_safe
@login_required
def changes(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What has changed since `snapshot`."""
    jail = looks.find_jail(request, uuid, "jail.snapshot")
    name = request.GET.get("snapshot", "")
    return looks.shown(
        request,
        jail,
        "changes",
        {"snapshot": name},
        page="panel/jail_changes.html",
        part="panel/_jail_changes.html",
        every=60_000,
        more=lambda look: {"name": name, "rows": _changed(((look and look.result) or {}).get("rows", ()))},
    )


CHANGES = {"+": "new", "-": "gone", "M": "changed", "R": "renamed"}


def _changed(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"what": CHANGES.get(row["change"], ""), "at": looks.moment(row["at"])} for row in rows]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def files(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The folder `path` of `snapshot`. Sent: `beside` or `replace` is the name of what is to be brought back."""
    jail = looks.find_jail(request, uuid, "jail.snapshot")
    query = request.POST if request.method == "POST" else request.GET
    name, path = query.get("snapshot", ""), query.get("path") or "/"
    if request.method == "POST":
        return _bring_back(request, jail, name, path)
    return looks.shown(
        request,
        jail,
        "snapshot_files",
        {"snapshot": name, "path": path},
        page="panel/jail_snapshot_files.html",
        part="panel/_jail_snapshot_files.html",
        every=300_000,
        more=lambda look: _folder(name, path, look and look.result),
    )


def _folder(name: str, path: str, result: dict[str, Any] | None) -> dict[str, Any]:
    parts = [part for part in path.split("/") if part]
    above = [("/" + "/".join(parts[: at + 1]), part) for at, part in enumerate(parts)]
    rows = [
        row
        | {
            "path": f"{path.rstrip('/')}/{row['name']}",
            "at": looks.moment(row["modified"]),
        }
        for row in (result or {}).get("rows", ())
    ]
    return {"name": name, "path": path, "above": above, "rows": rows}


def _bring_back(request: HttpRequest, jail: Jail, name: str, path: str) -> HttpResponse:
    how = file_restore.REPLACE if "replace" in request.POST else file_restore.BESIDE
    wish = {"jail": str(jail.uuid), "snapshot": name, "path": request.POST.get(how, ""), "how": how}
    back = f"{reverse('jail-snapshot-files', args=[jail.uuid])}?{urlencode({'snapshot': name, 'path': path})}"
    return plan_from_button(request, "file_restore", wish, jail.host, back)


def of_jail(jail: Jail) -> tuple[list[Snapshot], datetime | None]:
    """As the host was last seen, the newest first, and when that was. Of all that is known of it only this is read."""
    records = HostFactsRecord.objects.filter(host=jail.host_id).values_list("data__snapshots", "gathered_at")
    data, gathered_at = records.first() or ([], None)
    mine = (one for one in data or () if one["name"].startswith(f"{jail.dataset}@"))
    found = [decode(Snapshot, one) for one in mine]
    return sorted(found, key=lambda one: (one.creation, one.name), reverse=True), gathered_at


def _rows(request: HttpRequest, jail: Jail, found: Iterable[Snapshot]) -> list[dict[str, Any]]:
    found = list(found)
    for_the_host = snapshots.kept_for_the_host(jail) if any(map(snapshots.is_kept, found)) else {}
    runs_the_host = policy.works_for(request.user, Side.HOST, jail)
    made = [name for one in found for name in (one.operation, one.marks.get(snapshots.KEEP, ""))]
    ids = [name for name in made if _is_id(name)]
    taken = policy.visible(request.user, Operation).filter(pk__in=ids).select_related("confirmed_by")
    operations = {str(row.pk): row for row in taken.defer("plan", "parameters")}
    return [
        {
            "snapshot": one,
            "name": snapshots.short(one),
            "at": snapshots.taken_at(one),
            "note": one.marks.get(snapshots.NOTE, ""),
            "automatic": snapshots.is_automatic(one),
            "operation": operations.get(one.operation),
            "stays": bool(one.clones or one.userrefs),
            "kept": snapshots.is_kept(one),
            "kept_by": operations.get(one.marks.get(snapshots.KEEP, "")),
            "kept_for_the_host": snapshots.short(one) in for_the_host,
            "may_let_go": runs_the_host or snapshots.short(one) not in for_the_host,
        }
        for one in found
    ]


def _is_id(text: str) -> bool:
    """A property that anybody on the host may have set."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _share(jail: Jail) -> plans.Share | None:
    """How many its tenant has of how many it may have; None where there is no such limit."""
    plan = plans.plan_of(jail.tenant) if jail.tenant is not None else None
    if plan is None or plan.snapshots is None:
        return None
    assert jail.tenant is not None
    return next(one for one in plans.shares(plan, plans.use(jail.tenant)) if one.thing == "snapshots")
