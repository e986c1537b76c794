"""The statement of a tenant: what its jails used in a month, to look at, to print and as CSV."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from jails import audit, statements
from jails.models import Tenant
from jails.statements import Month
from panel.tables import sheet
from panel.views.access import find, source


@require_safe
@login_required
def page(request: HttpRequest, slug: str) -> HttpResponse | StreamingHttpResponse:
    tenant = find(request, Tenant, "usage.view", slug=slug)
    month = asked_for(request)
    if request.GET.get("export") == "csv":
        return exported(request, tenant, month)
    context = {
        "tenant": tenant,
        "statement": statements.of(tenant, month),
        "month": month,
        "most_gaps": statements.GAPS,
        "is_over": month.end <= timezone.now(),
        **around(tenant, month),
    }
    return render(request, "panel/tenant_usage.html", context)


def asked_for(request: HttpRequest) -> Month:
    """The running month where none is named; there is no page of one that is none."""
    try:
        return Month.parse(request.GET["month"]) if "month" in request.GET else Month.of(timezone.now())
    except ValueError as error:
        raise Http404(str(error)) from error


def around(tenant: Tenant, month: Month) -> dict[str, Any]:
    """The months beside it, where there is anything to see."""
    known = statements.months(tenant)
    first, last = (one.begin for one in known) if known else (month.begin, month.begin)
    newest = max(last, Month.of(timezone.now()).begin)
    return {
        "earlier": month.before if month.begin > first else None,
        "later": month.next if month.begin < newest else None,
    }


def exported(request: HttpRequest, tenant: Tenant, month: Month) -> StreamingHttpResponse:
    """That it was taken out is an entry, written before a line leaves."""
    with transaction.atomic():
        note = {"month": str(month)}
        audit.record("tenant.usage_export", actor=request.user, obj=tenant, source=source(request), after=note)
    statement = statements.of(tenant, month)
    rows = statements.csv_rows(tenant, month, statement.lines)
    return sheet.download(f"usage-{tenant.slug}-{month}", sheet.lines(statements.CSV_HEAD, rows))
