"""An operation's page: the plan before it is confirmed, its progress while it runs, its transcript ever after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from jails import approvals, policy
from jails.hosts import ports
from jails.models import Host, Jail, Operation, OperationStep, Release, Template
from jails.operations import lifecycle
from jails.operations.kind import Refused
from jails.operations.step import (
    Action,
    BootList,
    Plan,
    RemoveFile,
    Run,
    Step,
    WriteFile,
    plan_from_data,
    step_from_data,
)
from panel import step_up
from panel.context import shell_of
from panel.forms.agreements import AskForm
from panel.tables import keyset
from panel.views import approvals as approving
from panel.views import live
from panel.views.access import find, refuse, source
from panel.views.planning import with_snapshot

Status = Operation.Status
StepStatus = OperationStep.Status
TRAY_RECENT = 8
A_PAGE = 50
RESULTS = 3
"""Links to what an operation was about."""
SHORT = 90
"""Characters of a command that needs no line of its own."""
STOPPED_IN = {StepStatus.RUNNING: "broken_off", StepStatus.UNDOING: "undo_failed"}
"""What a step is called in which an operation ended that needs attention."""
WAITS_FOR = re.compile(r"“(.*)” to (?:go first|finish)", re.DOTALL)
"""How the engine and jails.operations.locks name an operation that another one waits for."""
ITS_TURN = "its turn"
MAY_GO_ON = (*Operation.OPEN, Status.FAILED, Status.CANCELLED, Status.STUCK, Status.REFUSED)
MAY_END = (Status.QUEUED, Status.RUNNING, Status.STUCK)
BEFORE_CONFIRMATION = (Status.DRAFT, Status.STALE)


def shown_operations(request: HttpRequest) -> QuerySet[Operation]:
    """What is listed: everything but drafts nobody confirmed."""
    rows = shell_of(request).of_team(policy.visible(request.user, Operation))
    rows = rows.exclude(status__in=[Status.DRAFT, Status.DISCARDED])
    return rows.select_related("requested_by", "tenant", "host").defer("plan", "parameters")


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    rows = shown_operations(request)
    wanted = request.GET.get("status", "")
    if wanted in Status.values:
        rows = rows.filter(status=wanted)
    host = request.GET.get("host", "").replace("\0", "")
    if host:
        rows = rows.filter(host_name=host)
    operations = keyset.page(rows, request.GET, A_PAGE)
    mark = live.mark_of([(row.pk, row.changed_at) for row in operations], operations.count)
    if live.has(request, mark):
        return HttpResponseNotModified()
    context = {
        "operations": operations,
        "statuses": [choice for choice in Status.choices if choice[0] not in (Status.DRAFT, Status.DISCARDED)],
        "status": wanted,
        "host": host,
        "mark": mark,
    }
    if request.htmx:
        return live.marked(render(request, "panel/_operations.html", context), mark)
    context["hosts"] = policy.visible(request.user, Host).values_list("name", flat=True)
    return live.marked(render(request, "panel/operations.html", context), mark)


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
    context = {
        "operations": recent,
        "running": running,
        "waits_for": waits_for(request, running[0]) if running else "",
    }
    return live.marked(render(request, "panel/tray.html", context), mark)


def tray_mark(request: HttpRequest) -> str:
    """Of what the tray and the tree show: operations, and for staff hosts, for tenants their jails; and where."""
    parts: list[Any] = [request.user.pk, request.COOKIES.get("tree", ""), request.headers.get("HX-Current-URL", "")]
    parts += shown_operations(request).order_by().aggregate(at=Max("changed_at"), n=Count("*")).values()
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


def _page(
    request: HttpRequest, operation: Operation, error: str = "", status: int = 200, form: AskForm | None = None
) -> HttpResponse:
    if operation.status in BEFORE_CONFIRMATION or not operation.confirmed_at:
        context = plan_context(request, operation) | {"error": error}
        if context["may_act"] and operation.status in BEFORE_CONFIRMATION:
            context |= approving.plan_context(request, operation, form)
        return render(request, "panel/plan.html", context, status=status)
    context = progress_context(request, operation) | {"error": error}
    return render(request, "panel/operation.html", context, status=status)


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
    step_up.ask_for_plan(request, operation)
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
def ask(request: HttpRequest, pk: str) -> HttpResponse:
    """Ask the other side for what the operating agreement gives to it."""
    operation = find(request, _whole(), "operation.view", pk=pk)
    if not may_act(request, operation):
        refuse(request, policy.ACTIONS_OF_OPERATIONS.get(operation.kind, "operation.ask"), operation)
    form = AskForm(request.POST)
    if not form.is_valid():
        return _page(request, operation, status=422, form=form)
    reason, lasts = form.cleaned_data["reason"], form.lasts
    try:
        approvals.ask(operation, reason, user=request.user, lasts=lasts, source=source(request))
    except approvals.CannotApprove as error:
        messages.error(request, str(error))
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
    """The same wish once more, as a new plan made from how the host is now; `without_snapshot`: with none first."""
    operation = find(request, _whole(), "operation.view", pk=pk)
    act = _without_snapshot if "without_snapshot" in request.POST else _retry
    try:
        again = act(operation, user=request.user, source=source(request))
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect("operation", pk=pk)
    return redirect("operation", pk=again.pk)


def _retry(operation: Operation, *, user: Any, source: str) -> Operation:
    """Which snapshot goes for one that is taken first is chosen anew: the one of then may have gone already."""
    wish: Mapping[str, Any] = _without_instead(operation)
    if operation.host is not None:
        wish = with_snapshot(operation.kind, wish, operation.host)
    return lifecycle.retry(operation, user=user, source=source, wish=wish)


def _without_instead(operation: Operation) -> dict[str, Any]:
    return {name: value for name, value in operation.parameters.items() if name != "instead"}


def _without_snapshot(operation: Operation, *, user: Any, source: str) -> Operation:
    """Of a plan that is not confirmed, which goes, or of what has ended."""
    wish = _without_instead(operation)
    if operation.host is None or not wish.get("snapshot_first"):
        raise Refused("It takes no snapshot first.")
    wish["snapshot_first"] = False
    if operation.status not in BEFORE_CONFIRMATION:
        return lifecycle.retry(operation, user=user, source=source, wish=wish)
    again = lifecycle.draft(operation.kind, wish, host=operation.host, user=user, source=source)
    lifecycle.discard(operation, user=user, source=source)
    return again


@require_POST
@login_required
def resume(request: HttpRequest, pk: str) -> HttpResponse:
    """Take up again what could go neither on nor back."""
    operation = find(request, _whole(), "operation.view", pk=pk)
    _act(request, lifecycle.resume, operation)
    return redirect("operation", pk=pk)


def _act(request: HttpRequest, act: Any, operation: Operation) -> None:
    try:
        act(operation, user=request.user, source=source(request))
    except Refused as refused:
        messages.error(request, str(refused))


def _whole() -> QuerySet[Operation]:
    rows = Operation.objects.select_related("host", "tenant", "requested_by", "confirmed_by", "retry_of")
    return rows.prefetch_related("steps", "jails")


def may_act(request: HttpRequest, operation: Operation) -> bool:
    """Whether this person could run it: then they may also confirm it, and try it again."""
    return not policy.why_not_operation(request.user, operation)


def may_end(request: HttpRequest, operation: Operation) -> bool:
    """Whether this person may cancel it, or take it up again."""
    stuck = operation.status == Status.STUCK
    return not (policy.why_not_resume if stuck else policy.why_not_cancel)(request.user, operation)


def sees_host(request: HttpRequest, operation: Operation) -> bool:
    """Who does not is shown nothing of what else its host has: other jails, and others' operations."""
    return policy.allowed(request.user, "host.view", operation.host)


def waits_for(request: HttpRequest, operation: Operation) -> str:
    """What it waits for, without naming an operation that this person may not see."""
    named = WAITS_FOR.match(operation.waiting_for) if operation.is_open else None
    if named is None or sees_host(request, operation):
        return operation.waiting_for if operation.is_open else ""
    own = policy.visible(request.user, Operation).filter(
        host=operation.host_id, status__in=Operation.OPEN, title=named[1]
    )
    return operation.waiting_for if own.exclude(pk=operation.pk).exists() else ITS_TURN


def plan_context(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    plan = plan_from_data(operation.plan)
    whole = sees_host(request, operation)
    steps = shown_steps(plan, whole=whole)
    return {
        "operation": operation,
        "plan": plan,
        "notes": [note for note in plan.notes if whole or not ports.is_of_host(note)],
        "steps": steps,
        "irreversible": [step for step in steps if step["irreversible"]],
        "may_act": may_act(request, operation),
        "change_url": change_url(request, operation),
        "commands_open": policy.allowed(request.user, "panel.overview"),
    }


def progress_context(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    rows = list(operation.steps.all())
    whole = sees_host(request, operation)
    steps = [running_step(row, operation, whole=whole) for row in rows]
    steps = steps or shown_steps(plan_from_data(operation.plan), whole=whole)
    over = [row for row in rows if row.status not in (StepStatus.PENDING, StepStatus.RUNNING)]
    current = next((step for step in steps if step.get("active")), None)
    return {
        "operation": operation,
        "mark": progress_mark(operation),
        "waits_for": waits_for(request, operation),
        "steps": steps,
        "parts": parts_of(steps),
        "current": current,
        "failed": next((step for step in steps if step["error"] or step.get("stopped")), None),
        "finished": len(over),
        "jails": list(operation.jails.all()),
        "results": results(request, operation) if operation.status == Status.DONE else [],
        "may_act": operation.status in MAY_GO_ON and may_act(request, operation),
        "may_end": operation.status in MAY_END and may_end(request, operation),
        "change_url": change_url(request, operation),
        "commands_open": policy.allowed(request.user, "panel.overview"),
    }


def change_url(request: HttpRequest, operation: Operation) -> str:
    """Back to the form this plan came from, with its values."""
    from panel.views.jails import form_url
    from panel.views.selfservice import make_url

    by_itself = not policy.allowed(request.user, "panel.overview")
    if by_itself and operation.kind == "jail_change":
        return reverse("jail-size", args=[operation.parameters["jail"]])
    return make_url(operation) if by_itself and operation.kind == "jail_create" else form_url(operation)


def results(request: HttpRequest, operation: Operation) -> list[tuple[str, str]]:
    """What it was about, as (name, address) of pages that this person may see."""
    jails = policy.visible(request.user, Jail).filter(operations=operation).order_by("name")[: RESULTS + 1]
    found = [(jail.name, reverse("jail", args=[jail.uuid])) for jail in jails]
    if len(found) > RESULTS:
        found = [("the jails", f"{reverse('jails')}?{urlencode({'host': operation.host_name})}")]
    wanted = operation.parameters
    if operation.kind == "release_fetch":
        named = {"name": wanted.get("release", ""), "architecture": wanted.get("architecture", "")}
        rows = policy.visible(request.user, Release).filter(host=operation.host_id, **named)
        found += [(row.name, reverse("release", args=[row.pk])) for row in rows]
    if operation.kind in ("template_create", "template_publish"):
        named = {"pk": wanted["template"]} if "template" in wanted else {"name": wanted.get("name", "")}
        rows = policy.visible(request.user, Template).filter(host=operation.host_id, **named)
        found += [(row.name, reverse("template", args=[row.pk])) for row in rows]
    if operation.host and policy.allowed(request.user, "host.view", operation.host):
        found.append((operation.host_name, reverse("host", args=[operation.host_name])))
    return found


def shown_steps(plan: Plan, *, whole: bool) -> list[dict[str, Any]]:
    return [shown_step(step, number, whole=whole) for number, step in enumerate(plan.steps, 1)]


def shown_step(step: Step, number: int, *, whole: bool) -> dict[str, Any]:
    """A step as the templates show it. whole: also with what it names of others' jails."""
    undo = [shown_action(undo.action, whole=whole) for undo in step.undo]
    return {
        "number": number,
        "anchor": f"step-{number}",
        "purpose": step.purpose,
        "subject": step.subject,
        "seconds": step.seconds,
        "ensure": step.ensure,
        "irreversible": step.irreversible,
        "undo": undo,
        "undo_line": undo[0]["command"] if len(undo) == 1 and _is_short(undo[0]["command"]) else "",
        "status": "",
        "error": "",
        **shown_action(step.action, whole=whole),
    }


def _is_short(command: str) -> bool:
    return len(command) <= SHORT and "\n" not in command


def names_others(step: Step) -> bool:
    """Whether its commands, and what they say, hold the list of all jails that start at the host's boot."""
    return any(isinstance(one, BootList) for one in (step.action, *(undo.action for undo in (*step.undo, *step.again))))


def shown_action(action: Action, *, whole: bool) -> dict[str, Any]:
    """Its command as it would be typed; of a file its path, what becomes of it, and the diff."""
    if isinstance(action, BootList) and not whole:
        action = replace(action, now=())
    if isinstance(action, (WriteFile, RemoveFile)):
        becomes = "removed" if isinstance(action, RemoveFile) else "new" if action.before is None else "changed"
        mode = action.mode if isinstance(action, WriteFile) else ""
        return {
            "command": action.shown(),
            "diff": action.diff(),
            "path": action.path,
            "becomes": becomes,
            "mode": mode,
            "stdin": "",
        }
    secret = isinstance(action, Run) and action.stdin_is_secret
    stdin = action.stdin if isinstance(action, Run) and not secret else ""
    return {"command": action.shown(), "diff": "", "stdin": stdin, "secret": secret}


def running_step(row: OperationStep, operation: Operation, *, whole: bool) -> dict[str, Any]:
    step = step_from_data(row.data)
    shown = shown_step(step, row.index + 1, whole=whole)
    said = whole or not names_others(step)
    took = row.finished_at - row.started_at if row.started_at and row.finished_at else None
    status = step_state(row, operation)
    return shown | {
        "index": row.index,
        "status": status,
        "active": status in (StepStatus.RUNNING, StepStatus.UNDOING),
        "stopped": status in STOPPED_IN.values(),
        "command": (row.command if said else "") or shown["command"],
        "output": row.output if said else "",
        "error": row.error,
        "rc": row.rc,
        "started_at": row.started_at,
        "took": took,
        "progress": row.progress,
        "progress_total": row.progress_total,
        "rate": rate(row),
    }


def step_state(row: OperationStep, operation: Operation) -> str:
    if row.error and row.status == StepStatus.UNDONE:
        # Rolled back or not, it is the one that failed.
        return "failed"
    if row.status == StepStatus.PENDING and (operation.has_ended or operation.status == Status.UNDOING):
        return "left_out"
    if operation.has_ended:
        return STOPPED_IN.get(row.status, row.status)
    return row.status


def rate(row: OperationStep) -> int | None:
    """Bytes a second so far, once there is enough to tell."""
    if not row.progress or not row.started_at or row.status != StepStatus.RUNNING:
        return None
    seconds = (timezone.now() - row.started_at).total_seconds()
    return int(row.progress / seconds) if seconds > 1 else None


def parts_of(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An operation on several jails as a line a jail, each with its steps; any other as its steps."""
    subjects = {step["subject"] for step in steps if step["subject"]}
    if len(subjects) < 2:
        return [{"name": "", "steps": [step]} for step in steps]
    parts: dict[Any, dict[str, Any]] = {}
    for step in steps:
        key = step["subject"] or step["number"]
        part = parts.setdefault(key, {"name": step["subject"], "steps": [], "number": len(parts) + 1})
        part["steps"].append(step)
    for part in parts.values():
        part["status"] = _together([step["status"] for step in part["steps"]])
        part["error"] = next((step["error"] for step in part["steps"] if step["error"]), "")
        part["now"] = next((step for step in part["steps"] if step.get("active")), None)
        if len(part["steps"]) == 1:
            part["steps"][0]["anchor"] = f"part-{part['number']}"
        part["took"] = sum((step["took"] for step in part["steps"] if step.get("took")), timedelta())
    return list(parts.values())


def _together(statuses: list[str]) -> str:
    for status in ("failed", *STOPPED_IN.values(), "running", "undoing", "kept", "undone"):
        if status in statuses:
            return status
    if "left_out" in statuses:
        return "left_out"
    if "pending" in statuses:
        return "pending" if set(statuses) <= {"pending", "skipped"} else "running"
    return "done" if "done" in statuses else "skipped"
