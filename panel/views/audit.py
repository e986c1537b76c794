"""The log, as people read it: what they may see of it, by filters that live in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import transaction
from django.db.models import Max, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jails import audit, policy, review
from jails.models import AuditEntry, AuditHead, Membership, Operation, SavedSearch, Tenant, User
from jails.prepared import Prepared
from panel.context import shell_of
from panel.forms.audit import between
from panel.tables import audit as table
from panel.tables import audit_differences as table_differences
from panel.tables import audit_values, sheet
from panel.tables.audit_finder import Finder
from panel.views.access import require, source

A_PAGE = 50
RECENT = 2000
"""Entries whose actors, actions and hosts are offered to filter by."""
KEPT, KEPT_FOR = 100, 3600
"""What is offered is put together once for so many entries that the log grows by, and kept for so many seconds."""
EXPORTS = (("csv", "CSV"), ("jsonl", "JSON lines"))
"""The lines are for those who may check the chain: they have all that a hash was made of, as docs/audit.md tells."""
COMPARED = 1000
"""So many entries are put together to what differs."""
CHECKED = 500
"""Entries at the end of the chain that are checked when somebody looks."""
CHECKED_FOR = 60
"""Seconds that the answer is kept, while the chain does not grow."""


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    if "" in request.GET.values():
        return redirect(reverse("audit") + table.without(request.GET))  # an address to pass on, without empty fields
    tenants = require_some_log(request)
    sees_all = policy.allowed(request.user, "audit.view")
    rows = shell_of(request).of_team(policy.visible(request.user, AuditEntry), "tenant_id")
    wanted = table.AuditFilter(request.GET, rows)
    wanted.narrowed = not sees_all
    is_valid = wanted.is_valid()
    source_of = sources(request, tenants)
    exports = EXPORTS if sees_all else EXPORTS[:1]
    kind = request.GET.get("export", "")
    if is_valid and kind in dict(exports):
        tenant = tenants[0] if not sees_all and len(tenants) == 1 else None
        return exported(request, kind, wanted.found, source_of, tenant)
    page = table.Page(Finder(wanted) if is_valid else rows.none(), request.GET, A_PAGE)
    tail = tail_of_log() if sees_all else None
    offered, filters = choices(request, tenants, tail), table.without(request.GET, *table.PAGING)
    context = {
        "form": wanted.form,
        "fields": table.fields(wanted.form, request.GET, offered),
        "page": page,
        "entries": [{"entry": entry, "source": source_of(entry)} for entry in page.entries],
        "choices": offered,
        "chips": table.chips(wanted.form, request.GET) if is_valid else [],
        "exports": [(name, f"{filters}&export={key}") for key, name in exports],
        "chain": state_of_chain(tail) if tail is not None else None,
        "searches": searches_of(request),
        "filters": filters.removeprefix("?"),
        "object": request.GET.get("object", "") if is_valid else "",
        "object_asked": request.GET.get("object", ""),
        "operation": request.GET.get("operation", ""),
        "timeline": timeline_of(request, request.GET.get("object", "")) if is_valid else "",
        "to_review": review.open_count() if sees_all else 0,
    }
    return render(request, "panel/audit.html", context, status=200 if is_valid else 400)


def require_some_log(request: HttpRequest) -> list[Tenant]:
    """Of those who see the whole log, and of those who see that of a tenant: the tenants they may know of."""
    tenants = list(policy.visible(request.user, Tenant))
    if not tenants:
        require(request, "audit.view")
    return tenants


class Search(NamedTuple):
    """What is shown of a saved search."""

    pk: int
    name: str
    query: str
    user_id: int
    user: str


def searches_of(request: HttpRequest) -> list[dict[str, Any]]:
    """Those one may use, the one that is being used marked."""
    ask = _shared_searches if policy.allowed(request.user, "search.share") else _own_searches
    found = [Search._make(row) for row in ask(request.user.pk)]
    here = QueryDict(mutable=True)
    here.update({name: value for name, value in request.GET.items() if name in table.AuditFilter.base_filters})
    return [
        {"search": one, "is_own": one.user_id == request.user.pk, "is_here": QueryDict(one.query) == here}
        for one in found
    ]


def _searches(person: User) -> QuerySet[Any]:
    return policy.visible(person, SavedSearch).values_list("pk", "name", "query", "user_id", "user__username")


@Prepared
def _own_searches(user: int) -> QuerySet[Any]:
    return _searches(policy.stand_in(user))


@Prepared
def _shared_searches(user: int) -> QuerySet[Any]:
    return _searches(policy.stand_in(user, User.Role.AUDITOR))


def exported(
    request: HttpRequest, kind: str, found: QuerySet[AuditEntry], source_of: Callable[[AuditEntry], str], tenant: Any
) -> StreamingHttpResponse:
    """All that is found, sent as it is read. That it was taken out is an entry, written before a line leaves."""
    with transaction.atomic():
        newest = found.aggregate(newest=Max("sequence"))["newest"] or 0
        wanted = {name: value for name, value in request.GET.items() if name not in table.PAGING}
        audit.record("audit.export", actor=request.user, tenant=tenant, source=source(request), after=wanted)
    found = found.filter(sequence__lte=newest)
    if kind == "csv":
        entries = found.order_by("-sequence").iterator(chunk_size=500)
        return sheet.download("audit", sheet.lines(table.CSV_HEAD, table.rows_of(entries, source_of)))
    lines = (f"{audit.line(entry)}\n" for entry in found.order_by("sequence").iterator(chunk_size=500))
    return sheet.download("audit", lines, "application/x-ndjson", "jsonl")


def choices(request: HttpRequest, tenants: list[Tenant], tail: list[Tail] | None) -> dict[str, list[Any]]:
    """What the filters offer: only what the reader may know of. tail: for who sees the whole log."""
    own = policy.visible(request.user, AuditEntry)
    who, actions, hosts = recent_of(own) if tail is None else recent_before(tail)
    return {
        "who": sorted(who - {""}),
        "action": sorted({request.GET.get("action", ""), *actions} - {""}),
        "host": sorted({request.GET.get("host", ""), *hosts} - {""}),
        "tenant": tenants if len(tenants) > 1 or tail is not None else [],
    }


Recent = tuple[set[str], set[str], set[str]]
"""Actors, actions and hosts."""


def recent_of(rows: QuerySet[AuditEntry]) -> Recent:
    return _columns(list(rows.order_by("-sequence").values_list("actor", "action", "host")[:RECENT]))


def recent_before(tail: list[Tail]) -> Recent:
    """Those of the tail, and of what was before it, which is read once: what is in the log does not change."""
    kept = next((place for place, one in enumerate(tail) if one.sequence % KEPT == 0), len(tail))
    fresh = _columns([(one.actor, one.action, one.host) for one in tail[:kept]])
    digest, last = (tail[kept].hash, tail[kept].sequence) if kept < len(tail) else ("", 0)
    before = AuditEntry.objects.filter(sequence__lte=last)
    older = cache.get_or_set(f"audit-recent-{digest}", lambda: recent_of(before), KEPT_FOR)
    return older[0] | fresh[0], older[1] | fresh[1], older[2] | fresh[2]


def _columns(rows: Sequence[Sequence[str]]) -> Recent:
    return {row[0] for row in rows}, {row[1] for row in rows}, {row[2] for row in rows}


class Tail(NamedTuple):
    """An entry near the end of the log. head: where the chain ends by the row that says so."""

    sequence: int
    hash: str
    actor: str
    action: str
    host: str
    head: str | None


def tail_of_log() -> list[Tail]:
    return [Tail._make(row) for row in _tail()]


@Prepared
def _tail() -> QuerySet[Any]:
    head = Subquery(AuditHead.objects.filter(pk=1).values("hash"))
    return AuditEntry.objects.order_by("-sequence").values_list(*Tail._fields[:-1], head)[:KEPT]


def sources(request: HttpRequest, tenants: list[Tenant]) -> Callable[[AuditEntry], str]:
    """Where something came from: a tenant learns this of its own members, not of staff."""
    if policy.allowed(request.user, "audit.view"):
        return lambda entry: entry.source
    members = set(Membership.objects.filter(tenant__in=tenants).values_list("user_id", flat=True))
    return lambda entry: entry.source if entry.actor_id in members else ""


def state_of_chain(tail: list[Tail]) -> dict[str, Any]:
    """Whether the end of the chain holds, looked at anew when it has grown."""
    key = f"audit-chain-{tail[0].hash}-{tail[0].head}" if tail else "audit-chain-"
    known = cache.get(key)
    if known is None:
        known = {"verdict": audit.verify(newest=CHECKED), "at": timezone.now()}
        cache.set(key, known, CHECKED_FOR)
    return known


def timeline_of(request: HttpRequest, key: str) -> str:
    """The key of its timeline, where it may have one that this reader sees; else ""."""
    kinds = ("jail", "host", "user") if policy.allowed(request.user, "audit.view") else ("jail", "user")
    return key if key.startswith(tuple(f"{kind}:" for kind in kinds)) else ""


@require_safe
@login_required
def differences(request: HttpRequest) -> HttpResponse:
    """Of one thing between two moments, from the entries that the reader may see."""
    if not policy.allowed(request.user, "audit.view") and not policy.visible(request.user, Tenant).exists():
        require(request, "audit.view")
    if "object" not in request.GET:
        return redirect("audit")
    form = between(request.GET)
    found, name = [], request.GET["object"]
    if form.is_valid():
        data = form.cleaned_data
        rows = table.AuditFilter({"object": request.GET["object"]}, policy.visible(request.user, AuditEntry)).qs
        rows = rows.filter(at__gte=data["since"], at__lt=data["until"]).order_by("sequence")
        found = list(rows[: COMPARED + 1])
        own = [row.object_name for row in found if (row.object_type, row.object_id) == data["object"]]
        name = own[-1] if own else name
    context = {
        "form": form,
        "object": request.GET["object"],
        "name": name,
        "timeline": timeline_of(request, request.GET["object"]),
        "too_many": COMPARED if len(found) > COMPARED else 0,
        "differences": table_differences.between(found, *form.cleaned_data["object"]) if form.is_valid() else None,
    }
    return render(request, "panel/audit_differences.html", context, status=200 if form.is_valid() else 400)


@require_safe
@login_required
def entry(request: HttpRequest, sequence: int) -> HttpResponse:
    rows = policy.visible(request.user, AuditEntry)
    found = rows.filter(sequence=sequence).first() if table.sequence(str(sequence)) is not None else None
    if found is None:
        raise Http404
    tenants = list(policy.visible(request.user, Tenant))
    operation = policy.visible(request.user, Operation).filter(pk=found.operation) if found.operation else None
    context = {
        "entry": found,
        "source": sources(request, tenants)(found),
        "changes": table.changes(found),
        "told": audit_values.changes(found),
        "tells_facts": found.before is None and found.action.startswith(audit_values.FACTS),
        "timeline": timeline_of(request, f"{found.object_type}:{found.object_id}"),
        "operation": operation.only("pk", "title").first() if operation is not None else None,
        "is_whole": found.hash == audit.entry_hash(found),
        "newer": rows.filter(sequence__gt=sequence).order_by("sequence").values_list("sequence", flat=True).first(),
        "older": rows.filter(sequence__lt=sequence).values_list("sequence", flat=True).first(),
    }
    return render(request, "panel/audit_entry.html", context)
