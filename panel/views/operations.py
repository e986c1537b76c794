"""An operation's page: the plan before it is confirmed, its progress while it runs, its transcript ever after."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from jails import policy
from jails.models import Host, Jail, Operation, OperationStep
from jails.operations import lifecycle
from jails.operations.kind import Refused
from jails.operations.step import Action, Plan, RemoveFile, Run, Step, WriteFile, plan_from_data, step_from_data
from panel.views import live
from panel.views.access import find, source

Status = Operation.Status
TRAY_RECENT = 8
A_PAGE = 50
BEFORE_CONFIRMATION = (Status.DRAFT, Status.STALE)


def shown_operations(request: HttpRequest) -> QuerySet[Operation]:
    """What is listed: everything but drafts nobody confirmed."""
    rows = policy.visible(request.user, Operation).exclude(status__in=[Status.DRAFT, Status.DISCARDED])
    return rows.select_related("requested_by", "tenant").defer("plan", "parameters")


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    rows = shown_operations(request)
    wanted = request.GET.get("status", "")
    if wanted in Status.values:
        rows = rows.filter(status=wanted)
    host = request.GET.get("host", "")
    if host:
        rows = rows.filter(host_name=host.replace("\0", ""))
    context = {
        "operations": Paginator(rows, A_PAGE).get_page(request.GET.get("page")),
        "statuses": [choice for choice in Status.choices if choice[0] not in (Status.DRAFT, Status.DISCARDED)],
        "status": wanted,
        "host": host,
        "hosts": policy.visible(request.user, Host).values_list("name", flat=True),
    }
    return render(request, "panel/operations.html", context)


@require_safe
@login_required
def tray(request: HttpRequest) -> HttpResponse:
    """The line at the bottom of every page, and the tree beside it. 304 while nothing has changed."""
    mark = tray_mark(request)
    if live.has(request, mark):
        return HttpResponseNotModified()
    recent = list(shown_operations(request)[:TRAY_RECENT])
    running = [row for row in recent if row.is_open]
    count_steps(running)
    return live.marked(render(request, "panel/tray.html", {"operations": recent, "running": running}), mark)


def tray_mark(request: HttpRequest) -> str:
    """Of what the tray and the tree show: operations, and for staff hosts, for tenants their jails."""
    parts: list[Any] = [request.user.pk, request.COOKIES.get("tree", "")]
    parts += shown_operations(request).order_by().aggregate(at=Max("changed_at"), n=Count("pk")).values()
    if policy.allowed(request.user, "panel.overview"):
        parts += policy.visible(request.user, Host).order_by().aggregate(at=Max("changed_at"), n=Count("pk")).values()
    else:
        parts += policy.visible(request.user, Jail).order_by().aggregate(at=Max("state_since"), n=Count("pk")).values()
    return live.mark_of(*parts)


def count_steps(operations: list[Operation]) -> None:
    """How many steps each has, and which one it is at."""
    rows = OperationStep.objects.filter(operation__in=operations).order_by().values("operation_id")
    over = Q(status__in=[OperationStep.Status.DONE, OperationStep.Status.SKIPPED])
    counts = {row["operation_id"]: row for row in rows.annotate(all=Count("pk"), over=Count("pk", filter=over))}
    for operation in operations:
        count = counts.get(operation.pk, {"all": 0, "over": 0})
        operation.step_count = count["all"]
        operation.step_now = min(count["over"] + 1, count["all"])


@require_safe
@login_required
def page(request: HttpRequest, pk: str) -> HttpResponse:
    operation = find(request, _whole(), "operation.view", pk=pk)
    request.tree_host = operation.host_name
    return _page(request, operation)


def _page(request: HttpRequest, operation: Operation, error: str = "", status: int = 200) -> HttpResponse:
    if operation.status in BEFORE_CONFIRMATION or not operation.confirmed_at:
        context = plan_context(request, operation) | {"error": error}
        return render(request, "panel/plan.html", context, status=status)
    return render(request, "panel/operation.html", progress_context(request, operation), status=status)


@require_safe
@login_required
def progress(request: HttpRequest, pk: str) -> HttpResponse:
    """The part of the page that moves. 304 while nothing has changed; the whole page anew when it has ended."""
    operation = find(request, _whole(), "operation.view", pk=pk)
    mark = progress_mark(operation)
    if live.has(request, mark):
        return HttpResponseNotModified()
    if operation.status in BEFORE_CONFIRMATION:
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    return live.marked(render(request, "panel/_progress.html", progress_context(request, operation)), mark)


def progress_mark(operation: Operation) -> str:
    """An ETag of all that the moving part of the page shows."""
    parts = [operation.status, operation.waiting_for, operation.error, str(operation.cancel_requested_at)]
    for step in operation.steps.all():
        parts += [step.status, step.output, step.error, step.command, str(step.progress)]
    return live.mark_of(*parts)


@require_POST
@login_required
def confirm(request: HttpRequest, pk: str) -> HttpResponse:
    operation = find(request, _whole(), "operation.view", pk=pk)
    digest = request.POST.get("digest", "")
    act = lifecycle.accept_new_plan if operation.status == Status.STALE else lifecycle.confirm
    try:
        act(operation, digest, user=request.user, source=source(request))
    except Refused as refused:
        operation = find(request, _whole(), "operation.view", pk=pk)
        return _page(request, operation, error=str(refused), status=409)
    return redirect("operation", pk=pk)


@require_POST
@login_required
def discard(request: HttpRequest, pk: str) -> HttpResponse:
    operation = find(request, _whole(), "operation.view", pk=pk)
    _act(request, lifecycle.discard, operation)
    return redirect("home")


@require_POST
@login_required
def cancel(request: HttpRequest, pk: str) -> HttpResponse:
    operation = find(request, _whole(), "operation.view", pk=pk)
    _act(request, lifecycle.cancel, operation)
    return redirect("operation", pk=pk)


@require_POST
@login_required
def retry(request: HttpRequest, pk: str) -> HttpResponse:
    """The same wish once more, as a new plan made from how the host is now."""
    operation = find(request, _whole(), "operation.view", pk=pk)
    try:
        again = lifecycle.retry(operation, user=request.user, source=source(request))
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect("operation", pk=pk)
    return redirect("operation", pk=again.pk)


def _act(request: HttpRequest, act: Any, operation: Operation) -> None:
    try:
        act(operation, user=request.user, source=source(request))
    except Refused as refused:
        messages.error(request, str(refused))


def _whole() -> QuerySet[Operation]:
    rows = Operation.objects.select_related("host", "tenant", "requested_by", "confirmed_by", "retry_of")
    return rows.prefetch_related("steps", "jails")


def may_act(request: HttpRequest, operation: Operation) -> bool:
    """Whether this person could run it: then they may also confirm, cancel and try it again."""
    return not policy.why_not_operation(request.user, operation)


def plan_context(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    plan = plan_from_data(operation.plan)
    return {
        "operation": operation,
        "plan": plan,
        "steps": shown_steps(plan),
        "irreversible": [step for step in plan.steps if step.irreversible],
        "may_act": may_act(request, operation),
        "change_url": change_url(operation),
        "commands_open": policy.allowed(request.user, "panel.overview"),
    }


def progress_context(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    rows = list(operation.steps.all())
    steps = [running_step(row) for row in rows] or shown_steps(plan_from_data(operation.plan))
    current = next((row.index for row in rows if row.status in ("running", "undoing")), None)
    failed = next((row.index for row in rows if row.status == "failed" or (row.error and row.rc)), None)
    return {
        "operation": operation,
        "mark": progress_mark(operation),
        "steps": steps,
        "subjects": subjects(rows),
        "current": current,
        "failed": failed,
        "finished": sum(row.status in ("done", "skipped") for row in rows),
        "jails": operation.jails.all(),
        "may_act": may_act(request, operation),
        "commands_open": policy.allowed(request.user, "panel.overview"),
    }


def change_url(operation: Operation) -> str:
    """Back to the form this plan came from, with its values."""
    from panel.views.jails import form_url

    return form_url(operation)


def shown_steps(plan: Plan) -> list[dict[str, Any]]:
    return [shown_step(step, number) for number, step in enumerate(plan.steps, 1)]


def shown_step(step: Step, number: int) -> dict[str, Any]:
    """A step as the templates show it."""
    return {
        "number": number,
        "purpose": step.purpose,
        "subject": step.subject,
        "seconds": step.seconds,
        "ensure": step.ensure,
        "irreversible": step.irreversible,
        "undo": [shown_action(undo.action) for undo in step.undo],
        "status": "",
        **shown_action(step.action),
    }


def shown_action(action: Action) -> dict[str, Any]:
    """Its command as it would be typed, and the diff where it is a file."""
    if isinstance(action, (WriteFile, RemoveFile)):
        return {"command": action.shown(), "diff": action.diff(), "stdin": ""}
    secret = isinstance(action, Run) and action.stdin_is_secret
    stdin = action.stdin if isinstance(action, Run) and not secret else ""
    return {"command": action.shown(), "diff": "", "stdin": stdin, "secret": secret}


def running_step(row: OperationStep) -> dict[str, Any]:
    shown = shown_step(step_from_data(row.data), row.index + 1)
    took = row.finished_at - row.started_at if row.started_at and row.finished_at else None
    rate = None
    if row.progress and row.started_at and row.status == "running":
        age = (timezone.now() - row.started_at).total_seconds()
        rate = int(row.progress / age) if age > 1 else None
    return shown | {
        "index": row.index,
        "status": row.status,
        "command": row.command or shown["command"],
        "output": row.output,
        "error": row.error,
        "rc": row.rc,
        "started_at": row.started_at,
        "took": took,
        "progress": row.progress,
        "progress_total": row.progress_total,
        "rate": rate,
    }


def subjects(rows: list[OperationStep]) -> list[dict[str, Any]]:
    """A line a jail for an operation on several: its name and how far it is."""
    by_name: dict[str, list[OperationStep]] = {}
    for row in rows:
        if subject := row.data.get("subject"):
            by_name.setdefault(subject, []).append(row)
    return [{"name": name, "status": _together([row.status for row in group])} for name, group in by_name.items()]


def _together(statuses: list[str]) -> str:
    for status in ("failed", "running", "undoing", "kept", "undone", "pending"):
        if status in statuses:
            return status
    return "done"
