"""Who may do what: the one table that views, the API and workers ask.

Everything that is not allowed here is denied. `allowed` answers for one thing, `visible` gives the rows a person may
know about at all: what is not visible does not exist for them (404), what is visible but not allowed is refused (403).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rules
from django.db.models import F, Model, Q, QuerySet

from jails.models import (
    Address,
    Agreement,
    Approval,
    AuditEntry,
    AuditReview,
    BreakGlass,
    Console,
    Grant,
    Host,
    Invitation,
    Jail,
    JailKey,
    Membership,
    Network,
    Operation,
    Release,
    Right,
    SavedSearch,
    Side,
    SshKey,
    Template,
    Tenant,
    User,
)


def _active(user: Any) -> bool:
    return bool(user is not None and user.is_authenticated and user.is_active)


def operated_host_ids(user: User) -> frozenset[int]:
    """The hosts an operator has. Read once for each user object, that is once a request."""
    if not user.is_operator:
        return frozenset()
    if not hasattr(user, "_operated_host_ids"):
        user._operated_host_ids = frozenset(user.operated_hosts.values_list("id", flat=True))
    return user._operated_host_ids


def memberships(user: User) -> dict[int, Membership]:
    """Tenant id → membership, of the tenants that are not archived. Read once for each user object."""
    if not _active(user):
        return {}
    if not hasattr(user, "_memberships"):
        rows = Membership.objects.filter(user_id=user.pk, tenant__archived_at__isnull=True).order_by()
        rows = rows.select_related("tenant")
        user._memberships = {row.tenant_id: row for row in rows}
    return user._memberships


def tenants_of(user: User) -> list[Tenant]:
    """Those one is a member of, without the archived ones, by their short names."""
    return sorted((row.tenant for row in memberships(user).values()), key=lambda tenant: tenant.slug)


def tenant_roles(user: User) -> dict[int, str]:
    """Tenant id → role, of the tenants that are not archived."""
    return {tenant: row.role for tenant, row in memberships(user).items()}


def grants(user: User) -> frozenset[tuple[int, int, str]]:
    """(tenant, jail, right) of each grant of one jail. Read once for each user object, for members alone."""
    if not hasattr(user, "_grants"):
        rows = Grant.objects.filter(membership__in=memberships(user).values()).order_by()
        user._grants = frozenset(rows.values_list("membership__tenant_id", "jail_id", "right"))
    return user._grants


def prepare(users: Iterable[User], jails: Iterable[Jail]) -> None:
    """Read at once what is else read for each of them: memberships, grants, hosts, and who has broken which glass."""
    from jails import breakglass

    people = [user for user in users if user.is_active]
    rows = list(Membership.objects.filter(user__in=people, tenant__archived_at__isnull=True).order_by())
    granted = list(Grant.objects.filter(membership__in=rows).order_by().select_related("membership"))
    operated = User.operated_hosts.through.objects.filter(user__in=people).values_list("user_id", "host_id")
    hosts, broken = list(operated), breakglass.open_by_person(people, list(jails))
    for user in people:
        user._memberships = {row.tenant_id: row for row in rows if row.user_id == user.pk}
        own = [grant for grant in granted if grant.membership.user_id == user.pk]
        user._grants = frozenset((grant.membership.tenant_id, grant.jail_id, grant.right) for grant in own)
        if user.is_operator:
            user._operated_host_ids = frozenset(host for person, host in hosts if person == user.pk)
        user._broken = frozenset(jail for person, jail in broken if person == user.pk)


def has_right(user: User, right: str, tenant_id: int | None, jail_id: int | None = None) -> bool:
    """Whether the person has the right on that jail of the tenant; without a jail, on all it has and will have."""
    row = memberships(user).get(tenant_id) if tenant_id is not None else None
    if row is None or row.role == VIEWER:
        return False
    if row.role in (OWNER, MANAGER) or right in row.rights:
        return True
    return jail_id is not None and (tenant_id, jail_id, right) in grants(user)


def _host_id(obj: Any) -> int | None:
    if isinstance(obj, Host):
        return obj.pk
    return getattr(obj, "host_id", None)


def _tenant_id(obj: Any) -> int | None:
    if isinstance(obj, Tenant):
        return obj.pk
    return getattr(obj, "tenant_id", None)


@rules.predicate
def is_administrator(user: Any, obj: Any = None) -> bool:
    return _active(user) and user.is_administrator


@rules.predicate
def is_auditor(user: Any, obj: Any = None) -> bool:
    return _active(user) and user.is_auditor


@rules.predicate
def is_operator(user: Any, obj: Any = None) -> bool:
    """Of any host: for what is not about one host."""
    return _active(user) and user.is_operator


@rules.predicate
def operates(user: Any, obj: Any = None) -> bool:
    """Operator of the host that the thing is, or is on."""
    host_id = _host_id(obj)
    return _active(user) and host_id is not None and host_id in operated_host_ids(user)


def _tenant_role(*wanted: str) -> Any:
    @rules.predicate("tenant " + "/".join(wanted))
    def predicate(user: Any, obj: Any = None) -> bool:
        tenant_id = _tenant_id(obj)
        return tenant_id is not None and tenant_roles(user).get(tenant_id) in wanted

    return predicate


def granted(right: str) -> Any:
    """Whether the person has this right on the jail, or, asked about a tenant, on all of its jails."""

    @rules.predicate(f"granted {right}")
    def predicate(user: Any, obj: Any = None) -> bool:
        jail_id = obj.pk if isinstance(obj, Jail) else None
        return _active(user) and has_right(user, right, _tenant_id(obj), jail_id)

    return predicate


OWNER, MANAGER, MEMBER, VIEWER = (role.value for role in Membership.Role)
is_owner = _tenant_role(OWNER)
is_manager = _tenant_role(OWNER, MANAGER)
is_member = _tenant_role(OWNER, MANAGER, MEMBER)
is_viewer = _tenant_role(OWNER, MANAGER, MEMBER, VIEWER)
"""Of the tenant that the thing is, or is of: anybody in its team."""


@rules.predicate
def is_published(user: Any, obj: Any = None) -> bool:
    """A template for everybody. Tenants see it once they make jails themselves; until then only staff do."""
    return isinstance(obj, Template) and obj.published_at is not None


@rules.predicate
def is_own(user: Any, obj: Any = None) -> bool:
    return _active(user) and isinstance(obj, SavedSearch) and obj.user_id == user.pk


@rules.predicate
def is_self(user: Any, obj: Any = None) -> bool:
    return _active(user) and isinstance(obj, User) and obj.pk == user.pk


@rules.predicate
def may_judge(user: Any, obj: Any = None) -> bool:
    """Nobody signs off what they did themselves, and nobody twice."""
    from jails import review

    return not isinstance(obj, AuditReview) or not (review.is_own(user, obj) or review.has_signed(user, obj))


@rules.predicate
def has_broken_glass(user: Any, obj: Any = None) -> bool:
    """Whether the person may be in this tenant's jail for a while, having said why."""
    from jails import breakglass

    if not isinstance(obj, Jail) or obj.tenant_id is None:
        return False
    return obj.pk in user._broken if hasattr(user, "_broken") else breakglass.is_open(user, obj)


@rules.predicate
def broke_it(user: Any, obj: Any = None) -> bool:
    """Nobody takes note of their own break-glass for the tenant, owner of it or not."""
    return _active(user) and isinstance(obj, BreakGlass) and obj.user_id == user.pk


@rules.predicate
def is_nobodys(user: Any, obj: Any = None) -> bool:
    """A jail that is no tenant's: whoever runs its host may be in it."""
    return isinstance(obj, Jail) and obj.tenant_id is None


@rules.predicate
def has_tenant(user: Any, obj: Any = None) -> bool:
    """Whether it is some tenant's: only then is there somebody to tell."""
    return _tenant_id(obj) is not None


@rules.predicate
def has_keys_in(user: Any, obj: Any = None) -> bool:
    """Whether keys of the person are in the jail: whoever one has become, these may be taken away."""
    return _active(user) and isinstance(obj, Jail) and JailKey.objects.filter(jail=obj, user_id=user.pk).exists()


_sees_hosts = is_administrator | is_auditor | operates
_runs_hosts = is_administrator | operates


def works_for(user: Any, side: str, thing: Any) -> bool:
    """Whether what the person does on that jail is done by the host's or by the tenant's side."""
    predicate = _runs_hosts if side == Side.HOST else is_member
    return bool(predicate(user, thing))


def speaks_for(user: Any, side: str, thing: Any) -> bool:
    """Whether the person may agree and approve for that side: of a tenant its owners and managers."""
    predicate = _runs_hosts if side == Side.HOST else is_manager
    return bool(predicate(user, thing))


@rules.predicate
def is_asked(user: Any, obj: Any = None) -> bool:
    """Whether an approval or a proposal is this person's to answer: the other side's, and never one's own."""
    if isinstance(obj, Approval):
        return obj.asked_by_id != user.pk and speaks_for(user, obj.side, obj)
    if isinstance(obj, Agreement):
        return obj.proposed_by_id != user.pk and speaks_for(user, Side(obj.side).other, obj)
    return False


@rules.predicate
def has_asked(user: Any, obj: Any = None) -> bool:
    if isinstance(obj, Approval):
        return bool(obj.asked_by_id == user.pk)
    return isinstance(obj, Agreement) and speaks_for(user, obj.side, obj)


ACTIONS: dict[str, Any] = {
    "panel.overview": is_administrator | is_auditor | is_operator,
    "host.view": _sees_hosts,
    "host.refresh": _runs_hosts,
    "host.add": is_administrator,
    "host.change": is_administrator,
    "host.access": is_administrator,
    "host.forget": is_administrator,
    "host.setup": _runs_hosts,
    "orphan.view": is_administrator | is_auditor,
    "host.clean": is_administrator,
    "host.fix": _runs_hosts,
    "host.fix_system": is_administrator,
    "release.view": _sees_hosts,
    "release.fetch": _runs_hosts,
    "release.trust": is_administrator,
    "release.remove": _runs_hosts,
    "template.view": _sees_hosts,
    "template.create": _runs_hosts,
    "template.publish": is_administrator,
    "template.remove": _runs_hosts,
    "network.view": is_administrator | is_auditor | is_operator,
    "network.add": is_administrator,
    "network.remove": is_administrator,
    "jail.view": _sees_hosts | is_viewer,
    "inside.view": _sees_hosts | is_viewer,
    "inside.read": _runs_hosts | is_member,
    "jail.power": _runs_hosts | granted(Right.POWER),
    "jail.snapshot": _runs_hosts | granted(Right.SNAPSHOTS),
    "jail.sandbox": _runs_hosts | (granted(Right.SNAPSHOTS) & granted(Right.CREATE)),
    "jail.create": _runs_hosts | granted(Right.CREATE),
    "jail.resize": _runs_hosts | granted(Right.CREATE),
    "jail.keys": (_runs_hosts & ~has_tenant) | granted(Right.CONSOLE),
    "jail.keys_own": has_keys_in,
    "jail.revoke": _runs_hosts | is_manager,
    "jail.change": _runs_hosts,
    "drift.view": _sees_hosts,
    "jail.repair": _runs_hosts,
    "jail.accept": _runs_hosts,
    "jail.rename": _runs_hosts,
    "jail.destroy": _runs_hosts | granted(Right.DESTROY),
    "jail.give": is_administrator,
    "jail.assign": is_administrator,
    "jail.adopt": is_administrator,
    "jail.console": granted(Right.CONSOLE) | (_runs_hosts & is_nobodys) | (is_administrator & has_broken_glass),
    "console.view": is_administrator | is_auditor | is_owner,
    "recording.view": is_administrator | is_auditor,
    "jail.breakglass": is_administrator & has_tenant,
    "breakglass.view": is_administrator | is_auditor | is_viewer,
    "breakglass.end": is_administrator,
    "breakglass.acknowledge": is_owner & ~broke_it,
    "operation.view": _sees_hosts | is_viewer,
    "agreement.view": _sees_hosts | is_viewer,
    "agreement.propose": has_tenant & (_runs_hosts | is_manager),
    "agreement.set": is_administrator & has_tenant,
    "agreement.decide": is_asked,
    "agreement.withdraw": has_asked,
    "agreement.read": is_manager,
    "approval.view": _sees_hosts | is_viewer,
    "approval.decide": is_asked,
    "approval.withdraw": has_asked | is_asked,
    "tenant.list": is_administrator | is_auditor,
    "tenant.view": is_administrator | is_auditor | is_viewer,
    "tenant.add": is_administrator,
    "tenant.archive": is_administrator,
    "tenant.plan": is_administrator,
    "usage.view": is_administrator | is_auditor | is_manager,
    "tenant.invite": is_administrator | is_owner,
    "tenant.members": is_administrator | is_owner,
    "user.view": is_administrator | is_auditor,
    "user.invite": is_administrator,
    "user.disable": is_administrator,
    "user.change": is_administrator,
    "user.link": is_administrator,
    "user.factors": is_administrator,
    "user.sign_out": is_administrator,
    "audit.view": is_administrator | is_auditor,
    "audit.view_own": is_viewer,
    "search.share": is_administrator | is_auditor,
    "search.remove": is_own,
    "audit.review": (is_administrator | is_auditor) & may_judge,
}
"""action → predicate over (user, thing). An action that is not here is denied."""

ACTIONS_OF_OPERATIONS = {
    "host_setup": "host.setup",
    "orphans_remove": "host.clean",
    "host_fix": "host.fix",
    "release_fetch": "release.fetch",
    "release_remove": "release.remove",
    "jail_create": "jail.create",
    "jail_start": "jail.power",
    "jail_stop": "jail.power",
    "jail_restart": "jail.power",
    "service_change": "jail.power",
    "jail_change": "jail.change",
    "jail_rename": "jail.rename",
    "jail_destroy": "jail.destroy",
    "jail_give": "jail.give",
    "snapshot_create": "jail.snapshot",
    "snapshot_destroy": "jail.snapshot",
    "snapshot_hold": "jail.snapshot",
    "snapshot_release": "jail.snapshot",
    "jail_rollback": "jail.snapshot",
    "sandbox_create": "jail.sandbox",
    "sandbox_end": "jail.destroy",
    "tenant_limits": "tenant.plan",
    "file_restore": "jail.snapshot",
    "drift_repair": "jail.repair",
    "drift_accept": "jail.accept",
    "jail_adopt": "jail.adopt",
    "jail_unadopt": "jail.adopt",
    "template_create": "template.create",
    "template_publish": "template.publish",
    "template_remove": "template.remove",
    "keys_change": "jail.keys",
}
"""Kind of operation → the action its requester needs, on each of its jails or, where it has none yet, on its host.

Some kinds ask for another one by what is wished for (Kind.actions_of). A jail that a tenant makes by itself is asked
about with the tenant, and must keep to what Kind.why_not_by_itself says.
"""

for _name, _predicate in ACTIONS.items():
    rules.set_perm(_name, _predicate) if rules.perm_exists(_name) else rules.add_perm(_name, _predicate)


def allowed(user: Any, action: str, obj: Any = None) -> bool:
    """Whether the person may do it to that thing (or at all, for what is about no one thing)."""
    if not _active(user) or action not in ACTIONS:
        return False
    return bool(rules.has_perm(action, user, obj))


def why_not_operation(user: User | None, operation: Operation) -> str:
    """Why this person may not run this operation as of now: a sentence, or "" when they may.

    Asked by views at confirmation and again by the worker, with the user, memberships and jails read afresh. None is
    the panel itself.
    """
    from jails.operations import kind as kinds

    if user is not None and not _active(user):
        return "The person who asked for it may no longer sign in."
    action = ACTIONS_OF_OPERATIONS.get(operation.kind)
    if action is None or operation.host is None:
        return f"Nobody may run an operation of the kind {operation.kind!r}."
    if user is None:
        return _why_not_the_panel(operation)
    try:
        kind = kinds.get(operation.kind)
        jails = list(kind.jails(operation.host, operation.parameters))
        widened = kind.widens(operation.host, operation.parameters)
        also = kind.also(operation.parameters)
        actions = kind.actions_of(user, operation.host, operation.parameters, action)
        maker = kind.tenant(operation.host, operation.parameters) if action == "jail.create" else None
        why_not = kind.why_not_for(user, operation.host, operation.parameters)
    except LookupError as error:
        return f"What it is about is gone: {error}."
    # Who may make it as staff need not keep to what a tenant may; an operator cannot say whose a jail is, but may be of
    # its team.
    as_staff = allowed(user, action, operation.host) and allowed(user, "jail.assign")
    by_itself = maker is not None and not as_staff and allowed(user, action, maker)
    if by_itself and (why := kind.why_not_by_itself(operation.host, operation.parameters)):
        return why
    things: list[Any] = [operation.host] if not jails or action == "jail.create" else jails
    for thing in things if not by_itself else ():
        if _host_id(thing) != operation.host_id:
            return f"{thing} is not on {operation.host_name}."
        for one in actions:
            if not allowed(user, one, thing):
                return f"{user} may not do this to {thing} ({one or action})."
    if also and not allowed(user, also, operation.host):
        return f"{user} may not do this to {operation.host} ({also})."
    if why_not:
        return why_not
    if not by_itself and _assigns(operation, jails) and not allowed(user, "jail.assign"):
        return "Only an administrator may decide which tenant it belongs to."
    if widened and not is_administrator(user):
        return f"Only an administrator may set {', '.join(widened)}: it widens what the jail may do."
    return ""


def _why_not_the_panel(operation: Operation) -> str:
    """Nobody asks for it, or nobody who is still there: what the panel may do of its own accord its kind says."""
    from jails.operations import kind as kinds

    assert operation.host is not None
    try:
        return kinds.get(operation.kind).why_not_the_panel(operation.host, operation.parameters)
    except LookupError as error:
        return f"What it is about is gone: {error}."


def why_not_resume(user: User | None, operation: Operation) -> str:
    """Why this person may not take it up again, or ""; as why_not_operation, but for another one's keys.

    Those are their owner's wish alone; yet whoever runs the host must be able to end what is half done there.
    """
    from jails.operations import kind as kinds

    why = why_not_operation(user, operation)
    if not why or operation.kind not in ("jail_create", "keys_change") or operation.host is None:
        return why
    if not _runs_hosts(user, operation.host):
        return why
    widened = kinds.get(operation.kind).widens(operation.host, operation.parameters)
    return why if widened and not is_administrator(user) else ""


def why_not_cancel(user: User | None, operation: Operation) -> str:
    """Why this person may not cancel it, or "". Nobody stops what another one does to take their keys out."""
    is_anothers = user is not None and operation.confirmed_by_id != user.pk
    if is_anothers and JailKey.objects.filter(removal=operation, user=user).exists():
        return "It takes out keys of yours, which another one wants: you cannot stop it."
    return why_not_resume(user, operation)


def _assigns(operation: Operation, jails: list[Any]) -> bool:
    """Whether it makes something a tenant's that was not the same tenant's already."""
    tenant = operation.parameters.get("tenant")
    if tenant is None or operation.kind == "jail_create":
        return tenant is not None
    return any(jail.tenant_id != tenant for jail in jails)


def visible(user: Any, model: type[Model] | QuerySet[Any]) -> QuerySet[Any]:
    """The rows of a model this person may know about; for anybody else there are none.

    Counts, searches, filters and look-ups by id all start here, so that nothing leaks beside the page itself.
    """
    rows = model if isinstance(model, QuerySet) else model._default_manager.all()  # type: ignore[attr-defined]
    if not _active(user):
        return rows.none()
    if rows.model is SavedSearch:
        return rows.filter(_searches(user))
    if user.is_administrator or user.is_auditor:
        return rows
    return rows.filter(_scope(user, rows.model))


def stand_in(pk: int = 0, role: str = "", tenants: Iterable[int] = ()) -> User:
    """Whoever has this id and role in the panel, and is a member of just these tenants: for queries that are put
    together once for all such people (jails.prepared)."""
    person = User(pk=pk, role=role, is_active=True)
    person._memberships = {pk: Membership(tenant_id=pk, role=VIEWER) for pk in tenants}  # type: ignore[attr-defined]
    return person


def visible_to_teams(tenants: Iterable[int], model: type[Model] | QuerySet[Any]) -> QuerySet[Any]:
    """`visible` for whoever has no role in the panel and is a member of just these tenants."""
    return visible(stand_in(tenants=tenants), model)


def _searches(user: User) -> Q:
    """One's own, whoever one is, and what those who see the whole log share among each other."""
    own = Q(user_id=user.pk)
    return own | Q(shared=True) if allowed(user, "search.share") else own


def _scope(user: User, model: type[Model]) -> Q:
    hosts, tenants = operated_host_ids(user), set(tenant_roles(user))
    on_hosts = Q(host_id__in=hosts)
    if model is Host:
        return Q(id__in=hosts)
    if model in (Release, Template):
        return on_hosts
    if model is Network:
        return (Q(host__isnull=True) | on_hosts) if user.is_operator else Q(pk__in=[])
    if model in (Jail, Operation):
        return on_hosts | Q(tenant_id__in=tenants)
    if model is Address:
        return Q(jail__host_id__in=hosts) | Q(jail__tenant_id__in=tenants)
    if model is JailKey:
        return Q(jail__host_id__in=hosts) | Q(jail__tenant_id__in=tenants)
    if model is SshKey:
        return Q(user_id=user.pk)
    if model is Tenant:
        return Q(id__in=tenants)
    if model is Membership:
        return Q(tenant_id__in=tenants)
    if model in (Console, Invitation):
        owned = [tenant for tenant, role in tenant_roles(user).items() if role == OWNER]
        return Q(tenant_id__in=owned)
    if model is Approval:
        return on_hosts | Q(tenant_id__in=tenants)
    if model is Agreement:
        # Of a jail that has another owner now, not even the name it has there.
        own = Q(jail=None) | Q(jail__tenant_id=F("tenant_id"))
        return Q(jail__host_id__in=hosts) | (Q(tenant_id__in=tenants) & own)
    if model in (AuditEntry, BreakGlass):
        return Q(tenant_id__in=tenants)
    return Q(pk__in=[])
