"""What every view starts with: who is asking, for what, and may they."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest

from jails import audit, policy
from jails.models import Host
from panel import step_up


def find(request: HttpRequest, rows: type[Model] | QuerySet[Any], action: str, **lookup: Any) -> Any:
    """The one thing the look-up names, for `action`.

    404 when the person may not even know of it, as when it does not exist; 403 when they see it but may not do that.
    For what step_up.ACTIONS names the person may be asked first to prove anew who they are.
    """
    # PostgreSQL refuses even to look for a NUL.
    is_text = "\0" not in "".join(value for value in lookup.values() if isinstance(value, str))
    thing = policy.visible(request.user, rows).filter(**lookup).first() if is_text else None
    if thing is None:
        if is_text and request.method == "POST":
            _note_hidden(request, rows, action, lookup)
        raise Http404
    if not policy.allowed(request.user, action, thing):
        refuse(request, action, thing)
    step_up.ask_for(request, action)
    return thing


def require(request: HttpRequest, action: str) -> None:
    """For what is about no one thing. To tenants such pages do not exist."""
    if policy.allowed(request.user, action):
        step_up.ask_for(request, action)
        return
    if not policy.allowed(request.user, "panel.overview"):
        if request.method == "POST":
            with transaction.atomic():
                audit.record(action, actor=request.user, outcome="refused", source=source(request))
        raise Http404
    refuse(request, action)


def require_on_a_host(request: HttpRequest, action: str) -> list[Host]:
    """For what needs a host: those on which the person may do it. To tenants such pages do not exist."""
    hosts = [host for host in policy.visible(request.user, Host) if policy.allowed(request.user, action, host)]
    if not hosts and not policy.is_administrator(request.user):
        require(request, action)
    return hosts


def refuse(request: HttpRequest, action: str, thing: Any = None) -> None:
    """Write the refusal into the log and answer 403."""
    with transaction.atomic():
        audit.record(action, actor=request.user, obj=thing, outcome="refused", source=source(request))
    raise PermissionDenied


def _note_hidden(request: HttpRequest, rows: type[Model] | QuerySet[Any], action: str, lookup: dict[str, Any]) -> None:
    all_rows = rows if isinstance(rows, QuerySet) else rows._default_manager.all()  # type: ignore[attr-defined]
    thing = all_rows.filter(**lookup).first()
    if thing is not None:
        note_hidden(request, action, [thing])


def note_hidden(request: HttpRequest, action: str, things: Sequence[Model]) -> None:
    """That somebody wanted to do something to what they may not even know of. For staff alone: its owner's log names
    nobody whom the owner does not know."""
    entries = [
        audit.entry(
            action,
            actor=request.user,
            obj=thing,
            outcome="refused",
            detail="This person may not know of it: it was answered as what does not exist.",
            source=source(request),
        )
        for thing in things
    ]
    for one in entries:
        one.tenant_id, one.tenant = None, ""
    with transaction.atomic():
        audit.record_all(entries)


def source(request: HttpRequest) -> str:
    """Where the request came from, as the log has it: the address behind trusted proxies."""
    return request.META.get("REMOTE_ADDR", "")
