"""Searches of the log kept under a name: one's own, and those that are shared with all who see the whole of it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from jails import audit
from jails.models import AuditEntry, SavedSearch
from panel.forms.audit import SearchForm
from panel.tables.audit import AuditFilter
from panel.views.access import find, require, source
from panel.views.audit import require_some_log


@require_POST
@login_required
def save(request: HttpRequest) -> HttpResponse:
    """Keep the filters that the page's address has, all of which must be such."""
    require_some_log(request)
    query = filters_of(request.POST.get("query", ""))
    form = SearchForm(request.POST)
    if not query:
        messages.error(request, "Filter first: a search is kept with what it filters by.")
    elif not form.is_valid():
        messages.error(request, f"The search was not kept: {'; '.join(form.errors['name'])}")
    elif problem := keep(request, form, query):
        messages.error(request, problem)
    return redirect(f"{reverse('audit')}?{query}" if query else "audit")


def filters_of(text: str) -> str:
    """The filters among a query, in one order; "" where there are none, or one of them says nothing that can be."""
    try:
        sent = QueryDict(text[:2000])
    except ValueError:
        return ""
    kept = QueryDict(mutable=True)
    for name in AuditFilter.base_filters:
        if value := sent.get(name, "").strip():
            kept[name] = value
    query = kept.urlencode()
    is_valid = AuditFilter(kept, AuditEntry.objects.none()).is_valid()
    return query if is_valid and len(query) <= SavedSearch._meta.get_field("query").max_length else ""


def keep(request: HttpRequest, form: SearchForm, query: str) -> str:
    """What is against it, or "" when it is kept. One that is shared is an entry, as others will rely on it."""
    name, shared = form.cleaned_data["name"], form.cleaned_data["shared"]
    if shared:
        require(request, "search.share")
    if request.user.searches.count() >= SavedSearch.MOST:
        return f"You have {SavedSearch.MOST} searches: remove one first."
    try:
        with transaction.atomic():
            made = SavedSearch.objects.create(user=request.user, name=name, query=query, shared=shared)
            if shared:
                after = {"query": query}
                audit.record("search.share", actor=request.user, obj=made, after=after, source=source(request))
    except IntegrityError:
        return f"You have a search called {name} already: choose another name, or remove that one."
    return ""


@require_POST
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    search = find(request, SavedSearch, "search.remove", pk=pk)
    with transaction.atomic():
        SavedSearch.objects.filter(pk=search.pk).delete()
        if search.shared:
            before = {"query": search.query}
            audit.record("search.remove", actor=request.user, obj=search, before=before, source=source(request))
    messages.success(request, f"The search {search} is removed.")
    return redirect("audit")
