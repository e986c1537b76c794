"""Jails that tenants make and change by themselves: what they may choose, and what is chosen for them.

They name a jail, what it is made from and how large it is, and learn no more of hosts and of others than that there is
room or is not. All else comes from here: a host of their plan with room, a free address of a network of their plan, a
name that begins with the tenant's own, so that whether a name is taken tells of nobody else's jails. What comes of it
is jail_create as staff have it, and the worker asks again whether it keeps to all this (`why_not_wish`).

A tenant without a plan makes nothing: there is nobody who has said how much.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jails import free_addresses, plans, policy
from jails.freebsd import names
from jails.models import Host, Jail, Operation, Release, Template, Tenant, TenantPlan, User
from jails.models.release import Base, Storage
from jails.operations import jailfile, kind, lifecycle
from jails.operations.kind import Refused

MOST_TRIED = 4
"""Hosts that are asked for a plan, one after the other."""
PICKED_FROM = 256
"""Free addresses of which one is taken at random: the next one would tell how many others there are."""
QUOTA_OFFERED = 10 << 30
NOT_AVAILABLE = "This name is not available: choose another one."
NO_ROOM = "There is no room for it at the moment: try again later, or ask your administrator."
OWN_FIELDS = ("quota", *jailfile.RULES, "login", "keys", "hostname")
"""Fields of which a refusal tells nothing but what the tenant has typed."""
THINGS = {limit: thing for thing, limit in plans.LIMITS.items()}
"""Limit of a jail → the thing of a plan that it counts as."""
NARROW = {"children_max": 0, "securelevel": -1, "enforce_statfs": 2}


@dataclass(frozen=True)
class Wanted:
    """What a tenant asks for. base: as `bases` names it. limits: quota in bytes and rules, each or None.

    access: {"login", "person", "keys"} as jail_create takes it, or None.
    """

    label: str
    base: str
    limits: Mapping[str, int | None]
    access: Mapping[str, Any] | None = None


def makers(user: User) -> list[Tenant]:
    """The tenants for which somebody may make jails by themselves."""
    tenants = policy.visible(user, Tenant).filter(archived_at__isnull=True, plan__isnull=False).order_by("slug")
    return [tenant for tenant in tenants if policy.has_right(user, "create", tenant.pk)]


# Names


def label_error(value: str) -> str | None:
    """What a tenant calls a jail: a hostname."""
    return names.hostname_error(value)


def name_of(tenant: Tenant, label: str) -> str:
    """`shop.example.org` of acme is `acme-shop-example-org` on its host."""
    return f"{tenant.slug}-{re.sub(r'[^A-Za-z0-9_-]', '-', label)}"


def is_own_name(tenant: Tenant | None, name: str) -> bool:
    return tenant is not None and name.startswith(f"{tenant.slug}-")


# What there is to choose


def bases(plan: TenantPlan) -> list[tuple[str, str]]:
    """(key, words) of what jails can be made from somewhere: templates first, then releases, the newest first."""
    found = {key_of(row): row for row in _bases(plan)}
    rows = sorted(found.values(), key=lambda row: (isinstance(row, Release), _order(row)))
    return [(key_of(row), _words(row)) for row in rows]


def key_of(row: Release | Template) -> str:
    """By name: rows of several hosts are one thing for a tenant."""
    return f"{'release' if isinstance(row, Release) else 'template'}:{row.name}"


def _order(row: Release | Template) -> tuple[Any, ...]:
    if isinstance(row, Template):
        return (0, row.name)
    return tuple(-int(number) for number in re.findall(r"\d+", row.name)) or (0,)


def _words(row: Release | Template) -> str:
    return f"FreeBSD {row.name}" if isinstance(row, Release) else row.name


def _bases(plan: TenantPlan) -> Iterator[Release | Template]:
    """Ready, on a host of the plan that answers, and for this tenant."""
    hosts = _hosts(plan)
    releases = Release.objects.filter(host__in=hosts, state=Base.State.READY)
    if not plan.any_release:
        releases = releases.filter(pk__in=plan.releases.values("pk"))
    templates = Template.objects.filter(host__in=hosts, state=Base.State.READY).select_related("release")
    published = templates.filter(tenant=None, published_at__isnull=False)
    if not plan.any_template:
        published = published.filter(pk__in=plan.templates.values("pk"))
    for rows in (releases, published, templates.filter(tenant=plan.tenant)):
        for row in rows.select_related("host"):
            if plan.disk is None or row.storage == Storage.ZFS:  # on UFS no jail can have the quota that it needs
                yield row


def _hosts(plan: TenantPlan) -> Any:
    rows = Host.objects.filter(unavailable_since__isnull=True, refreshed_at__isnull=False)
    return rows if plan.any_host else rows.filter(pk__in=plan.hosts.values("pk"))


def places(plan: TenantPlan, base: str) -> list[Release | Template]:
    """The rows of that base, those with most room on their host first."""
    rows = [row for row in _bases(plan) if key_of(row) == base]
    pools = {host.pk: list(host.pools.all()) for host in _hosts(plan).prefetch_related("pools")}
    return sorted(rows, key=lambda row: -max((pool.available for pool in pools.get(row.host_id, ())), default=0))


def sizes(plan: TenantPlan, host: Host | None = None) -> dict[str, int]:
    """Limit of a jail → what is left of it in the plan: those that a jail of this tenant must have.

    host: of the disk only what is left there, where it is shared among hosts.
    """
    used = plans.use(plan.tenant)
    room = plans.room_on(plan, host) if host is not None else None
    left = {
        limit: max(0, getattr(plan, thing) - getattr(used, thing))
        for limit, thing in THINGS.items()
        if thing in plans.COUNTED and getattr(plan, thing) is not None
    }
    return left if room is None else left | {"quota": min(left["quota"], room)}


# Making one


def draft(tenant: Tenant, wanted: Wanted, *, user: User, source: str = "") -> Operation:
    """A plan for it on the first host where it can be. Raises Refused: fields label, base, limits by name, or ""."""
    plan = plans.plan_of(tenant)
    if plan is None:
        raise Refused("Your team has no plan yet: ask your administrator for one.")
    found = places(plan, wanted.base)
    if not found:
        raise Refused({"base": "It is not there any more: choose another one."})
    problem: dict[str, str] = {}
    for row in _with_room(plan, found, wanted.limits.get("quota"))[:MOST_TRIED]:
        wish = _wish(tenant, plan, wanted, row)
        if wish is None:
            continue
        _refuse_beyond_plan(row.host, wish)
        try:
            return lifecycle.draft("jail_create", wish, host=row.host, user=user, source=source)
        except Refused as refused:
            problem = _told(refused)
            if problem and "label" not in problem:
                break  # it is so on any host
    raise Refused(problem or NO_ROOM)


def _with_room(plan: TenantPlan, found: list[Release | Template], quota: int | None) -> list[Release | Template]:
    """Those on hosts where enough of the plan's disk is left, if it is shared among hosts. Raises Refused for none."""
    hosts = {row.host_id: row.host for row in found}
    shared = {host: share for host, share in plans.shares_of(plan, hosts).items() if share != plan.disk}
    rooms = {host: plans.room_on(plan, hosts[host]) for host in shared}
    fits = [row for row in found if (room := rooms.get(row.host_id)) is None or room >= (quota or 0)]
    most = max((room for room in rooms.values() if room is not None), default=0)
    if not fits and quota is not None and plans.use(plan.tenant).disk + quota <= (plan.disk or 0):
        raise Refused({"quota": _no_room(most)})
    return fits or found


def _no_room(most: int) -> str:
    if most:
        return f"In one place your plan has room for {plans.size(most)}: choose a smaller quota."
    words = "What your plan has left cannot be used for this at the moment"
    return f"{words}: lower the quota of a jail, or ask your administrator."


def _refuse_beyond_plan(host: Host, wish: Mapping[str, Any]) -> None:
    """In the words of the tenant's own plan. The host is one that it allows."""
    wanted = kind.get("jail_create")
    try:
        plans.refuse(wanted, host, wanted.clean(wish))
    except Refused as refused:
        errors = {_field(name): text for name, text in refused.errors.items()}
        raise Refused(errors) from refused


def _told(refused: Refused) -> dict[str, str]:
    """What of a refusal concerns the tenant; nothing where it tells of hosts or of others."""
    errors = {_field(name): text for name, text in refused.errors.items() if name in OWN_FIELDS}
    return errors | ({"label": NOT_AVAILABLE} if "name" in refused.errors else {})


def _field(name: str) -> str:
    return {"name": "label", "hostname": "label", "tenant": "", "addresses": ""}.get(name, name)


def _wish(tenant: Tenant, plan: TenantPlan, wanted: Wanted, row: Release | Template) -> dict[str, Any] | None:
    """As jail_create takes it; None where there is no address for it."""
    address = _address(plan, row.host)
    if address is None:
        return None
    given = {limit: value for limit, value in wanted.limits.items() if value is not None}
    wish = {
        "name": name_of(tenant, wanted.label),
        "kind": Jail.Kind.THIN if row.storage == Storage.ZFS else Jail.Kind.THICK,
        "storage": row.storage,
        "release": row.pk if isinstance(row, Release) else None,
        "template": row.pk if isinstance(row, Template) else None,
        "hostname": wanted.label,
        "addresses": [address],
        "boot": True,
        "start": True,
        "tenant": tenant.pk,
        "limits": {"quota": None, **NARROW, **given},
    }
    return wish | ({"access": dict(wanted.access)} if wanted.access else {})


def _address(plan: TenantPlan, host: Host) -> dict[str, Any] | None:
    allowed = None if plan.any_network else set(plan.networks.values_list("pk", flat=True))
    for network in free_addresses.networks_of(host):
        if allowed is None or network.pk in allowed:
            free = (ip for ip in free_addresses.free(host, network) if not free_addresses.is_at_the_end(network, ip))
            found = list(islice(free, PICKED_FROM))
            if found:
                return {"network": network.pk, "ip": secrets.choice(found)}
    return None


# What is asked again, of whatever somebody has sent


def why_not_wish(tenant: Tenant, wish: Mapping[str, Any]) -> str:
    """Why a tenant may not make such a jail without staff: a sentence, or ""."""
    if plans.plan_of(tenant) is None:
        return f"{tenant} has no plan: until it has one, only staff make jails for it."
    if not is_own_name(tenant, wish["name"]):
        return f"The name of a jail that {tenant} makes by itself begins with {tenant.slug}-."
    wide = [name for name, value in NARROW.items() if wish["limits"].get(name) != value]
    if wide:
        return f"Only staff may set {', '.join(wide)}."
    if len(wish["addresses"]) > 1:
        return "Only staff give a jail more than one address."
    return ""


def why_not_sandbox(user: User, source: Jail, wish: Mapping[str, Any]) -> dict[str, str]:
    """Why somebody who is not staff may not make such a copy of their jail: field of sandbox_create → a sentence.

    Its name tells of nobody else's jails, and it may fill no more of the pool than the jail that it is made from.
    """
    tenant = source.tenant
    if tenant is None or policy.allowed(user, "jail.create", source.host):
        return {}
    plan = plans.plan_of(tenant)
    if plan is None:
        return {"": f"{tenant} has no plan: until it has one, only staff make jails for it."}
    problems = {}
    if not wish["name"].startswith(f"{source.name}-") and not is_own_name(tenant, wish["name"]):
        problems["name"] = f"Begin it with {source.name}- or {tenant.slug}-."
    most = source.limits.get("quota")
    if plan.disk is None and most and not 0 < (wish["quota"] or 0) <= most:
        problems["quota"] = f"Give it a quota of {plans.size(most)} at most, as {source.name} has."
    return problems


def is_resize(row: Jail, changed: Mapping[str, tuple[Any, Any]]) -> bool:
    """Whether the tenant may change these limits by itself: (old, new) of each. More only of what its plan counts."""
    plan = plans.plan_of(row.tenant) if row.tenant is not None else None
    return all(
        limit in THINGS and (not _is_more(old, new) or _counts(plan, THINGS[limit]))
        for limit, (old, new) in changed.items()
    )


def _is_more(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)


def _counts(plan: TenantPlan | None, thing: str) -> bool:
    return plan is not None and thing in plans.COUNTED and getattr(plan, thing) is not None


def resizable(row: Jail) -> dict[str, bool]:
    """Limit → whether the tenant may also have more of it, of a jail that the panel made."""
    plan = plans.plan_of(row.tenant) if row.tenant is not None else None
    limits: Iterable[str] = (limit for limit in THINGS if limit != "quota" or row.storage == Storage.ZFS)
    return {limit: _counts(plan, THINGS[limit]) for limit in limits}
