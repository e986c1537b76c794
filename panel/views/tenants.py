"""Tenants: for staff all of them, for a member the page of their own team."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import allotting, audit, keys, memberships, plans, policy
from jails.models import AuditEntry, Invitation, Jail, Membership, Operation, PlanShare, Template, Tenant, TenantPlan
from jails.operations import jail_give, lifecycle
from jails.operations.kind import Refused
from panel import accounts, step_up
from panel.forms.allotting import EffectsForm
from panel.forms.tenants import (
    THINGS,
    ArchiveForm,
    GrantForm,
    InviteMemberForm,
    MemberForm,
    PlanForm,
    TenantForm,
    with_host,
)
from panel.views.access import find, refuse, require, source
from panel.views.keys import leaving
from panel.views.people import shown_once

LATELY = 6
LEAVING = 50
Status = Operation.Status
UNFINISHED = (Status.STALE, *Operation.OPEN)
"""They run or may go on."""
CURRENT = Tenant.objects.filter(archived_at__isnull=True)
"""An archived tenant is only looked at."""


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "tenant.list")
    rows = policy.visible(request.user, Tenant).order_by("archived_at", "slug")
    # One query each: joined into one, the numbers would multiply.
    jails = {row["tenant"]: row for row in totals(policy.visible(request.user, Jail).filter(tenant__isnull=False))}
    members = dict(Membership.objects.values_list("tenant").annotate(n=Count("pk")))
    tenants = [{"tenant": row, "use": jails.get(row.pk), "members": members.get(row.pk, 0)} for row in rows]
    tenants.sort(key=lambda row: (row["tenant"].archived_at is not None, row["tenant"].slug))
    return render(request, "panel/tenants.html", {"tenants": tenants})


def totals(jails: QuerySet[Jail]) -> Any:
    running = Count("pk", filter=Q(state=Jail.State.RUNNING))
    return jails.order_by("tenant").values("tenant").annotate(jails=Count("pk"), running=running, used=Sum("used"))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest) -> HttpResponse:
    require(request, "tenant.add")
    form = TenantForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and save_new(request, form):
        return redirect("tenant", slug=form.instance.slug)
    return render(request, "panel/tenant_form.html", {"form": form}, status=422 if form.errors else 200)


def save_new(request: HttpRequest, form: TenantForm) -> bool:
    try:
        with transaction.atomic():
            tenant = form.save()
            after = {"name": tenant.name}
            audit.record("tenant.add", actor=request.user, obj=tenant, after=after, source=source(request))
    except IntegrityError:
        form.add_error("slug", "Somebody has just added a tenant of that short name.")
        return False
    return True


@require_safe
@login_required
def page(request: HttpRequest, slug: str) -> HttpResponse:
    tenant = find(request, Tenant, "tenant.view", slug=slug)
    jails = policy.visible(request.user, Jail).filter(tenant=tenant)
    invitations = policy.visible(request.user, accounts.open_invitations()).filter(tenant=tenant)
    context = {
        "tenant": tenant,
        "memberships": tenant.memberships.select_related("user").annotate(
            jails_granted=Count("grants__jail", distinct=True)
        ),
        "invitations": invitations.select_related("created_by"),
        "jails": jails.select_related("host").order_by("name"),
        "use": totals(jails).first(),
        "operations": policy.visible(request.user, Operation)
        .filter(tenant=tenant)
        .exclude(status__in=[Status.DRAFT, Status.DISCARDED])
        .select_related("requested_by")
        .defer("plan", "parameters")[:LATELY],
        "leaving": list(leaving(tenant, request.user)[:LEAVING]),
        **plan_context(tenant),
    }
    context["stuck"] = any(row.is_stuck for row in context["leaving"])
    if policy.allowed(request.user, "tenant.list"):
        context["pending"] = allotting.pending(tenant, context["plan"])
        context["usable"] = usable(context["plan"])
    return render(request, "panel/tenant.html", context)


def usable(plan: TenantPlan | None) -> list[tuple[str, bool, list[str]]]:
    """Of each sort of thing: its name, whether any may be used, and else which."""
    if plan is None:
        return []
    return [(things, getattr(plan, plans.USABLE[things]), names(plan, things)) for things in THINGS]


def plan_context(tenant: Tenant) -> dict[str, Any]:
    """Its plan and what it uses of it, without the names of what it may use: those are for staff."""
    plan = plans.plan_of(tenant)
    if plan is None:
        return {"plan": None}
    use = plans.use(tenant)
    shares = plans.shares(plan, use)
    return {
        "plan": plan,
        "shares": shares,
        "over": [share for share in shares if share.is_over],
        "without": plans.without(plan, use),
    }


def names(plan: TenantPlan, things: str) -> list[str]:
    """Of what the plan allows of a sort, with the host where it is on one."""
    rows = getattr(plan, things).all().select_related(*([] if things == "hosts" else ["host"]))
    return [with_host(row) for row in rows]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def plan(request: HttpRequest, slug: str) -> HttpResponse:
    """What a tenant may have, and what that means on its hosts before it is saved.

    Less than it has already is allowed: it keeps that, and gets no more.
    """
    tenant = find(request, CURRENT, "tenant.plan", slug=slug)
    sent = request.POST if request.method == "POST" else None
    if sent is not None and "there" in sent:
        return plan_on_hosts(request, tenant, again=True)
    if sent is not None and "remove" in sent:
        save_plan(request, tenant, None)
        messages.success(request, f"{tenant.name} has no plan any more. Its jails keep their limits.")
        return plan_on_hosts(request, tenant)
    row = plans.plan_of(tenant)
    form = PlanForm(row, sent)
    effects, why, status = None, "", 422 if form.errors else 200
    if sent is not None and form.is_valid():
        effects = effects_of(tenant, row, form, sent)
        is_shown = "effects" in sent and not effects.is_bound
        if is_shown and "show" not in sent:
            why, status = "The numbers are others than those you looked at: see what they mean.", 409
        elif "show" not in sent and (not effects.is_bound or effects.is_valid()):
            try:
                save_plan(request, tenant, form, effects, seen=sent.get("seen", ""))
                return plan_on_hosts(request, tenant)
            except Changed as changed:
                row = plans.plan_of(tenant)
                why, status = str(changed), 409
        elif "show" not in sent:
            status = 422
    context = {
        "form": form,
        "tenant": tenant,
        "row": row,
        "used": plans.use(tenant),
        "seen": mark_of(row),
        "why": why,
        "has_hosts": effects is not None or has_hosts(tenant),
        **(shown_effects(tenant, form, effects) if effects is not None else {}),
    }
    return render(request, "panel/tenant_plan.html", context, status=status)


class Changed(Exception):
    """Somebody else has changed the plan since it was looked at: a sentence."""


def has_hosts(tenant: Tenant) -> bool:
    return tenant.datasets.exists() or Jail.objects.filter(tenant=tenant).exists()


def effects_of(tenant: Tenant, row: TenantPlan | None, form: PlanForm, sent: Mapping[str, Any]) -> EffectsForm:
    """What was chosen is kept while it is of the numbers that were looked at."""
    numbers = form.numbers
    given = dict(row.shares.values_list("host", "disk")) if row is not None else {}
    is_kept = "effects" in sent and sent["effects"] == mark(numbers)
    return EffectsForm(allotting.estate(tenant), numbers, given, sent if is_kept else None)


def shown_effects(tenant: Tenant, form: PlanForm, effects: EffectsForm) -> dict[str, Any]:
    numbers = form.numbers
    over = [one for one in plans.shares(TenantPlan(tenant=tenant, **numbers), plans.use(tenant)) if one.is_over]
    places = [
        (place, effects.share_field(place), list(effects.place_notes(place)), effects.rows(place))
        for place in effects.estate.places
    ]
    return {"effects": effects, "mark": mark(numbers), "places": places, "over": over, "together": effects.together}


def mark(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def mark_of(row: TenantPlan | None) -> str:
    """Of a plan as it is: who saves another one has seen this."""
    return mark([numbers_of(row), places_of(row)])


def plan_on_hosts(request: HttpRequest, tenant: Tenant, *, again: bool = False) -> HttpResponse:
    """Plan for each host what the tenant's plan changes there: read and confirmed one by one, as all that changes one.

    The plan itself counts from now on. Where a host cannot be planned for, the tenant's page says so until it is.
    again: not where an operation is on its way already.
    """
    lifecycle.discard_drafts(Operation.objects.filter(kind="tenant_limits", tenant=tenant))
    drafts = []
    for one in allotting.pending(tenant, plans.plan_of(tenant)):
        if again and one.operation is not None and one.operation.is_open:
            continue
        try:
            wish = {"tenant": tenant.pk}
            draft = lifecycle.draft("tenant_limits", wish, host=one.host, user=request.user, source=source(request))
            drafts.append(draft)
        except Refused as refused:
            why = " ".join(refused.errors.values())
            messages.error(request, f"The plan is saved. On {one.host.name} it waits: {why}")
    if len(drafts) == 1:
        return redirect("operation", pk=drafts[0].pk)
    if drafts:
        query = urlencode({"plan": [str(one.pk) for one in drafts]}, doseq=True)
        return redirect(f"{reverse('jails-bulk')}?{query}")
    return redirect("tenant", slug=tenant.slug)


def save_plan(
    request: HttpRequest, tenant: Tenant, form: PlanForm | None, effects: EffectsForm | None = None, *, seen: str = ""
) -> None:
    """Save or remove it. Under the tenant's row, so that who confirms something meanwhile sees one plan or the other.

    Two entries: the tenant reads its numbers, and staff also the names of what it may use. seen: what `mark_of` said
    when it was looked at; raises Changed where it is another one by now.
    """
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        row = plans.plan_of(tenant)
        if seen and seen != mark_of(row):
            raise Changed(changed_words(tenant))
        before, places = numbers_of(row), places_of(row)
        if form is not None:
            row = row or TenantPlan(tenant=tenant)
            form.save(row)
            save_shares(row, effects.shares if effects is not None else {})
        elif row is not None:
            row.delete()
            row = None
        had, given = save_limits(tenant, row, effects)
        after, places_after = numbers_of(row), places_of(row)
        note = {"actor": request.user, "obj": tenant, "source": source(request)}
        entries = []
        if before != after or given:
            limits = [{"limits": limits} if given else {} for limits in (had, given)]
            old, new = ({**numbers, **more} if numbers is not None else more or None for numbers, more in
                        zip((before, after), limits, strict=True))  # fmt: skip
            entries.append(audit.entry("tenant.plan", before=old, after=new, **note))
        if places != places_after:
            for_staff = audit.entry("tenant.plan_places", before=places, after=places_after, **note)
            for_staff.tenant_id, for_staff.tenant = None, ""
            entries.append(for_staff)
        audit.record_all(entries)


def changed_words(tenant: Tenant) -> str:
    entry = AuditEntry.objects.filter(
        action__in=["tenant.plan", "tenant.plan_places"], object_type="tenant", object_id=str(tenant.pk), operation=""
    )
    last = entry.order_by("-sequence").first()
    who = f"{last.actor} has" if last is not None else "Somebody has"
    return f"{who} changed this plan since you opened it. Compare your numbers with what it is now, then save again."


def save_shares(row: TenantPlan, shares: Mapping[int, int]) -> None:
    if dict(row.shares.values_list("host", "disk")) != shares:
        row.shares.all().delete()
        PlanShare.objects.bulk_create(PlanShare(plan=row, host_id=host, disk=disk) for host, disk in shares.items())


def save_limits(
    tenant: Tenant, row: TenantPlan | None, effects: EffectsForm | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Note with each jail what it is to have; what it was given of what the plan counts no more goes.

    The limits that it had and those that it gets, by the names of jails.
    """
    counted = allotting.counted(numbers_of(row) or {})
    limits = effects.limits if effects is not None else {}
    decided = effects.decided if effects is not None else {}
    jails = jails_to_note(tenant, limits)
    had: dict[str, Any] = {}
    given: dict[str, Any] = {}
    changed = []
    for jail in jails:
        kept = {name: value for name, value in jail.allotted.items() if name in counted}
        kept = {name: value for name, value in kept.items() if name not in decided.get(jail.pk, ())}
        allotted = kept | limits.get(jail.pk, {})
        new = {name: value for name, value in limits.get(jail.pk, {}).items() if jail.allotted.get(name) != value}
        if new:
            key = jail.name if jail.name not in given else f"{jail.name} {jail.uuid}"
            had[key], given[key] = {name: jail.limits.get(name) for name in new}, new
        if allotted != jail.allotted:
            jail.allotted = allotted
            changed.append(jail)
    Jail.objects.bulk_update(changed, ["allotted"], batch_size=200)
    return had, given


def jails_to_note(tenant: Tenant, chosen: Collection[int]) -> QuerySet[Jail]:
    """Locked, and nothing else with them: their usual order is by the names of hosts, whose rows it would lock too."""
    rows = Jail.objects.select_for_update(no_key=True).filter(Q(tenant=tenant), Q(pk__in=chosen) | ~Q(allotted={}))
    return rows.order_by("pk")


def numbers_of(row: TenantPlan | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {name: getattr(row, name) for name in plans.COUNTED}


def places_of(row: TenantPlan | None) -> dict[str, Any] | None:
    if row is None:
        return None
    found = {things: "any" if getattr(row, plans.USABLE[things]) else names(row, things) for things in THINGS}
    shares = {share.host.name: share.disk for share in row.shares.select_related("host")}
    return found | ({"disk_on": shares} if shares else {})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def invite(request: HttpRequest, slug: str) -> HttpResponse:
    """Make a link into the team; it is shown in the answer and never again."""
    tenant = find(request, CURRENT, "tenant.invite", slug=slug)
    form = InviteMemberForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        label, role, rights = (form.cleaned_data[name] for name in ("label", "role", "rights"))
        with transaction.atomic():
            invitation, token = Invitation.issue(
                label=label, tenant=tenant, tenant_role=role, tenant_rights=rights, created_by=request.user
            )
            audit.record(
                "tenant.invite",
                actor=request.user,
                obj=invitation,
                tenant=tenant,
                after={"role": role} | ({"all_jails": rights} if rights else {}),
                source=source(request),
            )
        return shown_once(request, invitation, token, "tenant", tenant.slug)
    context = {"form": form, "tenant": tenant}
    return render(request, "panel/tenant_invite.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    tenant = find(request, CURRENT, "tenant.invite", slug=slug)
    rows = accounts.open_invitations().filter(tenant=tenant)
    invitation = find(request, rows, "tenant.invite", pk=pk)
    accounts.withdraw(invitation, user=request.user, source=source(request))
    messages.success(request, f"The link for {invitation} no longer works.")
    return redirect("tenant", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def member(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change what a member may do, or take somebody out of the team; one may also leave by oneself."""
    tenant = find(request, CURRENT, "tenant.view", slug=slug)
    membership = find(request, tenant.memberships.select_related("user", "tenant"), "tenant.view", pk=pk)
    leaves = membership.user == request.user and request.method == "POST" and "remove" in request.POST
    if not leaves and not policy.allowed(request.user, "tenant.members", membership):
        refuse(request, "tenant.members", membership)
    if not leaves:
        step_up.ask_for(request, "tenant.members")
    sent = request.POST if request.method == "POST" else None
    grants_one = sent is not None and "grant" in sent
    form = MemberForm(None if grants_one else sent, initial={"role": membership.role, "rights": membership.rights})
    grant = GrantForm(tenant, sent if grants_one else None)
    if sent is not None and "remove" in sent:
        if remove(request, membership, form):
            who = "You are" if leaves else f"{membership.user} is"
            messages.success(request, f"{who} no longer in {tenant.name}.")
            return redirect("home") if leaves else redirect("tenant", slug=slug)
    elif grants_one and grant.is_valid() and save_grant(request, membership, grant):
        return redirect("tenant-member", slug=slug, pk=pk)
    elif sent is not None and not grants_one and form.is_valid() and save_role(request, membership, form):
        return redirect("tenant", slug=slug)
    context = {"form": form, "grant": grant, "tenant": tenant, "membership": membership, "granted": granted(membership)}
    status = 422 if form.errors or grant.errors else 200
    return render(request, "panel/tenant_member.html", context, status=status)


def granted(membership: Membership) -> list[tuple[Jail, list[str]]]:
    """Each jail on which the member has rights of its own, with their names."""
    found: dict[Jail, list[str]] = {}
    for grant in membership.grants.filter(jail__tenant=membership.tenant_id).select_related("jail"):
        found.setdefault(grant.jail, []).append(grant.right)
    return list(found.items())


def save_role(request: HttpRequest, membership: Membership, form: MemberForm) -> bool:
    role, rights = form.cleaned_data["role"], form.cleaned_data["rights"]
    with transaction.atomic():
        if role != Membership.Role.OWNER and leaves_no_owner(request, membership):
            form.add_error("role", NO_OWNER)
            return False
        before = memberships.rights_of(membership)
        membership.role = role
        if role == Membership.Role.MEMBER:
            membership.rights = rights
        membership.save(update_fields=["role", "rights"])
        keys.settle(membership.user, actor=request.user, source=source(request))
        note(request, "tenant.member_change", membership, before, memberships.rights_of(membership))
    return True


def save_grant(request: HttpRequest, membership: Membership, form: GrantForm) -> bool:
    jail, rights = form.cleaned_data["jail"], form.cleaned_data["rights"]
    with transaction.atomic():
        before = memberships.rights_of(membership)
        memberships.set_grants(membership, jail, rights)
        keys.settle(membership.user, actor=request.user, source=source(request))
        after = memberships.rights_of(membership)
        if before != after:
            note(request, "tenant.member_change", membership, before, after)
    return True


def remove(request: HttpRequest, membership: Membership, form: MemberForm) -> bool:
    """Out at once: sessions end, but the one in which somebody leaves by oneself."""
    with transaction.atomic():
        if leaves_no_owner(request, membership):
            form.errors.clear()
            form.add_error(None, NO_OWNER)
            return False
        before = memberships.rights_of(membership)
        went = memberships.end(membership, actor=request.user, source=source(request))
        is_self = membership.user_id == request.user.pk
        here = request.session.session_key or "" if is_self else ""
        went["sessions_ended"] = accounts.end_sessions(membership.user, but=here)
        note(request, "tenant.member_remove", membership, before, went)
    return True


NO_OWNER = "A team needs an owner: make somebody else one first, or ask an administrator."


def leaves_no_owner(request: HttpRequest, membership: Membership) -> bool:
    return accounts.is_last_owner(membership) and not policy.allowed(request.user, "tenant.add")


def note(request: HttpRequest, action: str, membership: Membership, before: Any, after: Any) -> None:
    audit.record(
        action,
        actor=request.user,
        obj=membership.user,
        tenant=membership.tenant,
        before=before,
        after=after,
        source=source(request),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def archive(request: HttpRequest, slug: str) -> HttpResponse:
    """End a tenant: who gets each of its jails is asked and planned; when it owns nothing, it can be archived."""
    tenant = find(request, CURRENT, "tenant.archive", slug=slug)
    jails = list(Jail.objects.filter(tenant=tenant).select_related("host").order_by("host__name", "name"))
    form = ArchiveForm(tenant, jails, request.POST if request.method == "POST" and jails else None)
    if request.method == "POST" and not jails:
        if archive_now(request, tenant):
            messages.success(request, f"{tenant.name} is archived. Its name stays in the log.")
            return redirect("tenants")
    elif request.method == "POST" and form.is_valid() and plan_gifts(request, tenant, form):
        return redirect("tenant-archive", slug=slug)
    context = {
        "tenant": tenant,
        "form": form,
        "jails": jails,
        "templates": tenant.templates.select_related("host"),
        "plans": gifts_of(tenant, Status.DRAFT, *UNFINISHED),
    }
    return render(request, "panel/tenant_archive.html", context, status=422 if request.method == "POST" else 200)


def gifts_of(tenant: Tenant, *statuses: str) -> QuerySet[Operation]:
    """Operations that give away jails it has."""
    rows = Operation.objects.filter(kind="jail_give", status__in=statuses)
    return rows.filter(jails__in=Jail.objects.filter(tenant=tenant)).distinct()


def plan_gifts(request: HttpRequest, tenant: Tenant, form: ArchiveForm) -> bool:
    """A plan for each host and heir, for the administrator to read and run. Earlier ones nobody ran go."""
    lifecycle.discard_drafts(gifts_of(tenant, Status.DRAFT))
    for host, wish in jail_give.wishes({jail: form.heir_of(jail) for jail in form.jails}):
        try:
            lifecycle.draft("jail_give", wish, host=host, user=request.user, source=source(request))
        except Refused as refused:
            form.add_error(None, f"{host}: {refused}")
    return not form.errors


def archive_now(request: HttpRequest, tenant: Tenant) -> bool:
    """Only what owns nothing, under the tenant's row so that nothing is given to it meanwhile."""
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        owned = Jail.objects.filter(tenant=tenant).exists() or Template.objects.filter(tenant=tenant).exists()
        operations = Operation.objects.filter(tenant=tenant)
        if owned or operations.filter(status__in=UNFINISHED).exists():
            messages.error(request, f"{tenant.name} still owns something, or has an operation that is not finished.")
            return False
        lifecycle.discard_drafts(operations)
        tenant.archived_at = timezone.now()
        tenant.save(update_fields=["archived_at"])
        links = accounts.open_invitations().filter(tenant=tenant).update(expires_at=timezone.now())
        members = list(tenant.memberships.values_list("user__username", flat=True))
        audit.record(
            "tenant.archive",
            actor=request.user,
            obj=tenant,
            before={"members": members},
            after={"links_withdrawn": links},
            source=source(request),
        )
    return True
