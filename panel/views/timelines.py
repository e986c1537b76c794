"""What was done with one jail or host, and with and by one person, day by day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, timedelta

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_safe

from jails import policy
from jails.models import AuditEntry, Console, Host, Jail, Membership, Operation, User
from panel.charts import strip
from panel.context import shell_of
from panel.tables import timeline
from panel.tables.audit import sequence
from panel.tables.jails import without
from panel.tables.timeline import Thing, Timeline
from panel.views.audit import require_some_log

A_PAGE = 50
STRIP = 90
"""Days that the drawing has."""


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    require_some_log(request)
    if "object" not in request.GET:
        return redirect("audit")
    rows = policy.visible(request.user, AuditEntry)
    thing = thing_of(request)
    line = Timeline(shell_of(request).of_team(rows, "tenant_id"), thing)
    today = timezone.now().astimezone(UTC).date()
    day = parsed(request.GET.get("day", ""))
    before, after = sequence(request.GET.get("before", "")), sequence(request.GET.get("after", ""))
    if day is not None:
        before, after = timeline.number_at(day + timedelta(days=1)), None
    is_top = before is None and after is None
    found = line.page(A_PAGE, before=before, after=after, top=day or (today if is_top else None))
    timeline.join(found.lines, policy.visible(request.user, Operation), policy.visible(request.user, Console))
    here = without(request.GET, "before", "after", "day")
    context = {
        "thing": thing,
        "url": url_of(request, thing),
        "page": found,
        "day": day,
        "no_day": request.GET.get("day", "") if day is None else "",
        "today": today,
        "strip": strip(line.tallies(today - timedelta(days=STRIP - 1), today), today, STRIP),
        "here": here,
        "newer": without(request.GET, "before", "day", after=str(found.newer)) if found.newer else "",
        "older": without(request.GET, "after", "day", before=str(found.older)) if found.older else "",
        "may_play": policy.allowed(request.user, "recording.view"),
    }
    return render(request, "panel/audit_timeline.html", context)


def parsed(text: str) -> date | None:
    """A day that has a day behind it; anything else is none."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day is not None and date.min < day < date.max else None


def thing_of(request: HttpRequest) -> Thing:
    """The one that is named, or what the log that the reader may see knows of one that is gone. Else 404."""
    kind, _, number = request.GET["object"].partition(":")
    pk = sequence(number)
    if kind not in FIND or pk is None:
        raise Http404
    row = FIND[kind](request, pk)
    if row is not None:
        return Thing(kind, pk, row.username if kind == "user" else row.name, row)
    rows = policy.visible(request.user, AuditEntry).filter(object_type=kind, object_id=str(pk))
    # A person whom a team has no more, and a host, are for those who see the whole log.
    if kind != "jail" and not policy.allowed(request.user, "audit.view"):
        raise Http404
    name = rows.order_by("-sequence").values_list("object_name", flat=True).first()
    if not name:
        raise Http404
    return Thing(kind, pk, name)


def _jail(request: HttpRequest, pk: int) -> Jail | None:
    return policy.visible(request.user, Jail).filter(pk=pk).first()


def _host(request: HttpRequest, pk: int) -> Host | None:
    return policy.visible(request.user, Host).filter(pk=pk).first()


def _user(request: HttpRequest, pk: int) -> User | None:
    if policy.allowed(request.user, "user.view"):
        return User.objects.filter(pk=pk).first()
    row = policy.visible(request.user, Membership).filter(user=pk).select_related("user").first()
    return row.user if row else None


FIND: dict[str, Callable[[HttpRequest, int], Jail | Host | User | None]] = {
    "jail": _jail,
    "host": _host,
    "user": _user,
}


def url_of(request: HttpRequest, thing: Thing) -> str:
    """The thing's own page, where it has one that its reader may see; "" for what is gone."""
    if thing.row is None or (thing.kind == "user" and not policy.allowed(request.user, "user.view")):
        return ""
    if thing.kind == "jail":
        return reverse("jail", args=[thing.row.uuid])
    return reverse("host", args=[thing.row.name]) if thing.kind == "host" else reverse("person", args=[thing.pk])
