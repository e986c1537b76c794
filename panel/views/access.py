"""What every view starts with: who is asking, for what, and may they."""

from __future__ import annotations

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


def source(request: HttpRequest) -> str:
    """Where the request came from, as the log has it: the address behind trusted proxies."""
    return request.META.get("REMOTE_ADDR", "")
