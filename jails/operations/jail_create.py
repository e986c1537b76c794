"""Create a jail: its tree, its file, its boot, and start it."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from jails import plans, policy, selfservice
from jails.freebsd import names, uname
from jails.freebsd.publickey import PublicKey
from jails.hosts.facts import HostFacts
from jails.keys import settle_finished
from jails.models import Host, Jail, Operation, Release, Template, Tenant, User
from jails.models.release import Base, Storage
from jails.operations import checks, common, in_the_way, jailfile, keys_change, layout, limits, trees
from jails.operations.kind import Kind, Refused, Request
from jails.operations.release_fetch import end_of_life_notes
from jails.operations.step import BootList, Plan, Run, Step, Undo
from jails.operations.wish import Wish

MARGIN = 64 << 20
"""Bytes that must be left beside the tree, for what the jail writes first."""
DYING_SECONDS = 120
"""How long a jail that was stopped may hold its tree: connections that it had stay in TIME_WAIT for a minute."""
WAIT_UNTIL_GONE = """\
n=$2
while [ "$n" -gt 0 ]; do
jls -d -j "$1" jid >/dev/null 2>&1 || exit 0
sleep 1
n=$((n - 1))
done"""


@dataclass(frozen=True)
class _Wanted:
    """A wish with all that it names, found and held against the host."""

    request: Request
    base: Release | Template
    tenant: Tenant | None
    dataset: str
    path: str
    addresses: tuple[jailfile.Address, ...]
    keys: tuple[PublicKey, ...] = ()

    @property
    def access(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.request.parameters.get("access")
        return found

    @property
    def name(self) -> str:
        return str(self.request.parameters["name"])

    @property
    def touched(self) -> bool:
        """Whether a tenant has had the tree that it is made from."""
        return isinstance(self.base, Template) and self.base.touched


class JailCreate(Kind):
    name = "jail_create"
    action = "jail.create"

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        return Tenant.objects.filter(pk=parameters["tenant"]).first() if parameters["tenant"] else None

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Create {parameters['name']}"

    def widens(self, host: Host, parameters: Mapping[str, Any]) -> list[str]:
        return jailfile.widened(parameters["limits"])

    def why_not_by_itself(self, host: Host, parameters: Mapping[str, Any]) -> str:
        tenant = self.tenant(host, parameters)
        if tenant is None:
            return super().why_not_by_itself(host, parameters)
        return selfservice.why_not_wish(tenant, parameters)

    def why_not_for(self, user: User, host: Host, parameters: Mapping[str, Any]) -> str:
        """Keys are one's own, and for who may use a console in it."""
        access = parameters.get("access")
        if not access:
            return ""
        if access["person"] != user.pk:
            return "Nobody may put in another one's keys."
        may = policy.allowed(user, "jail.keys", self.tenant(host, parameters) or host)
        return "" if may else f"{user} may not put keys into it (jail.keys)."

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        return plans.of_new(self.tenant(host, parameters), host, parameters)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        name = wish.text("name", names.jail_name_error)
        cleaned: dict[str, Any] = {
            "name": name,
            "kind": wish.choice("kind", (Jail.Kind.THICK, Jail.Kind.THIN)),
            "storage": wish.choice("storage", (Storage.ZFS, Storage.UFS)),
            "release": wish.key("release"),
            "template": wish.key("template"),
            "hostname": wish.text("hostname", names.hostname_error, default=as_hostname(name)),
            "addresses": wish.addresses(),
            "boot": wish.flag("boot"),
            "start": wish.flag("start"),
            "tenant": wish.key("tenant"),
            "limits": wish.limits(),
        }
        if access := keys_change.access_wish(wish):
            cleaned["access"] = access
        if cleaned["release"] is None and cleaned["template"] is None:
            wish.wrong("release", "Choose a release or a template.")
        if cleaned["release"] is not None and cleaned["template"] is not None:
            wish.wrong("template", "Choose a release or a template, not both.")
        if cleaned["storage"] == Storage.UFS:
            if cleaned["kind"] == Jail.Kind.THIN:
                wish.wrong("kind", "A thin jail is a clone, which only ZFS can make: choose a thick one.")
            if cleaned["limits"]["quota"] is not None:
                wish.wrong("quota", "Only a jail with a dataset of its own, on ZFS, can have a quota.")
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        wanted = _look(request)
        facts, wish = request.facts, request.parameters
        tree = _tree(wanted)
        file = _file(wanted)
        try:
            text = file.text()
        except ValueError as error:
            raise Refused(f"jail.conf(5) cannot say this: {error}") from error
        later = common.with_file(facts, layout.config_path(wanted.name), text)
        steps = (
            *common.ensure_jail_parents(request.host, request.operation_id, pool=_pool(wanted), tenant=wanted.tenant),
            *trees.make(tree),
            *trees.prepare(tree, touched=wanted.touched),
            *trees.make_real(tree),
            common.write_file_step(file),
            *_access(wanted),
            *_start(wanted),
            *_boot(wanted, later),
        )
        release = _release_of(wanted.base)
        return Plan(
            title=self.title(wish, request.host),
            steps=common.each_once(steps),
            summary=_summary(wanted),
            warnings=_warnings(wanted, later),
            notes=(
                *(end_of_life_notes(release.name) if release is not None else ()),
                *_port_notes(wanted),
                *limits.notes(request.host.name, facts, [wish["limits"]]),
            ),
            resources=_resources(wanted),
            result=(
                ("dataset", wanted.dataset),
                ("path", wanted.path),
                ("origin", wanted.base.snapshot if tree.thin else ""),
                ("touched", "yes" if _is_touched(wanted) else "no"),
                *common.addresses_to_result(wanted.addresses),
                *keys_change.keys_to_result(wanted.keys),
            ),
        )

    def reserve(self, operation: Operation) -> None:
        host, wish = operation.host, operation.parameters
        assert host is not None
        _require_ready(Release, wish["release"], "release")
        _require_ready(Template, wish["template"], "template")
        row = Jail(host=host, uuid=uuid_of(str(operation.pk)), state=Jail.State.PENDING)
        _fill(row, wish, dict(operation.plan["result"]))
        row.save(force_insert=True)
        common.reserve_addresses(operation, row, wish["addresses"])
        operation.jails.add(row)
        operation.subject = wish["name"]

    def finish(self, operation: Operation, plan: Plan) -> None:
        wish, result = operation.parameters, dict(plan.result)
        row = Jail.objects.get(uuid=uuid_of(str(operation.pk)))
        _fill(row, wish, result)
        row.touched = result["touched"] == "yes"
        row.origin = result["origin"]
        row.config_path = layout.config_path(row.name)
        row.state = Jail.State.RUNNING if wish["start"] else Jail.State.STOPPED
        row.state_since = timezone.now()
        row.save()
        common.keep_addresses(row, wish["addresses"], common.addresses_of_result(plan.result))
        if access := wish.get("access"):
            person = keys_change.find_person(access["person"])
            keys_change.keep(row, access["login"], person, keys_change.keys_of_result(plan.result))
            settle_finished(row, person, source="worker")

    def release(self, operation: Operation) -> None:
        Jail.objects.filter(uuid=uuid_of(str(operation.pk)), state=Jail.State.PENDING).delete()


def as_hostname(name: str) -> str:
    """The name where a host may be called so; “-” for what no hostname has."""
    return re.sub(r"[^A-Za-z0-9-]", "-", name).strip("-") or "jail"


def uuid_of(operation_id: str) -> str:
    """The jail's, known before its row is there, and the same in every plan of this operation."""
    return str(uuid.uuid5(uuid.UUID(operation_id), "jail"))


def _fill(row: Jail, wish: Mapping[str, Any], result: Mapping[str, str]) -> None:
    row.name, row.kind, row.storage = wish["name"], wish["kind"], wish["storage"]
    row.hostname, row.boot, row.limits = wish["hostname"], wish["boot"], wish["limits"]
    row.tenant_id, row.template_id = wish["tenant"], wish["template"]
    template = Template.objects.filter(pk=wish["template"]).first() if wish["template"] else None
    row.release_id = template.release_id if template is not None else wish["release"]
    row.path, row.dataset = result["path"], result["dataset"]
    row.managed = True


def _require_ready(model: type[Release] | type[Template], key: int | None, field: str) -> None:
    """Nobody is removing it: held until the jail's row, which keeps it, is there."""
    if key is None:
        return
    row = model.objects.select_for_update().filter(pk=key).first()
    if row is None or row.state != Base.State.READY:
        raise Refused({field: "It is not there any more, or is being removed."})


# What is wanted, and whether it can be


def _look(request: Request) -> _Wanted:
    host, facts, wish = request.host, request.facts, request.parameters
    facts.require("identity", "version", "jails", "files", "names", "interfaces", "mounts")
    tenant = common.find_tenant(wish["tenant"])
    base = _base(host, facts, wish, tenant)
    _require_runnable(host, facts, base)
    pool = _pool_for(host, facts, wish, base)
    path, dataset = _places(host, pool, tenant, wish["name"])
    taken = common.name_taken(
        host, facts, wish["name"], uuid=uuid_of(request.operation_id), datasets=[dataset] if dataset else []
    )
    if taken:
        # Who makes it by itself sees this, and knows of no jails but its own.
        hidden = selfservice.is_own_name(tenant, wish["name"])
        raise Refused({"name": selfservice.NOT_AVAILABLE if hidden else taken})
    addresses = _addresses(request, tenant)
    wanted = _Wanted(request, base, tenant, dataset, path, addresses, _keys(wish))
    _require_space(wanted, pool)
    return wanted


def _addresses(request: Request, tenant: Tenant | None) -> tuple[jailfile.Address, ...]:
    host, facts, wish = request.host, request.facts, request.parameters
    try:
        return common.resolve_addresses(host, facts, wish["addresses"], uuid=uuid_of(request.operation_id))
    except Refused as refused:
        if selfservice.is_own_name(tenant, wish["name"]):
            raise Refused({"addresses": "Its address has been taken meanwhile: make it again."}) from refused
        raise


def _keys(wish: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    access = wish.get("access")
    if not access:
        return ()
    try:
        person = keys_change.find_person(access["person"])
    except LookupError as error:
        raise Refused({"login": f"{error}."}) from error
    return tuple(keys_change.find_keys(person, access["keys"]))


def _base(host: Host, facts: HostFacts, wish: Mapping[str, Any], tenant: Tenant | None) -> Release | Template:
    if wish["release"] is not None:
        release = Release.objects.filter(host=host, pk=wish["release"]).first()
        return _require_there(host, facts, release, "release")
    template = Template.objects.select_related("tenant", "release").filter(host=host, pk=wish["template"]).first()
    base = _require_there(host, facts, template, "template")
    assert isinstance(base, Template)
    if base.tenant is not None and base.tenant != tenant:
        raise Refused({"template": f"{base.name} belongs to {base.tenant}: only jails of that tenant may use it."})
    if base.tenant is None and base.published_at is None and tenant is not None:
        raise Refused({"template": f"{base.name} is not published: what is in it is for no tenant."})
    return base


def _require_there(host: Host, facts: HostFacts, row: Release | Template | None, field: str) -> Release | Template:
    if row is None:
        raise Refused({field: f"{host.name} has no such {field}."})
    if row.state != Base.State.READY:
        raise Refused({field: f"{row.name} cannot be used: {row.get_state_display().lower()}."})
    if row.storage == Storage.ZFS:
        there = facts.snapshot(row.snapshot) is not None
    else:
        there = facts.exists(*row.path.rsplit("/", 1))
    if not there:
        raise Refused({field: f"{row.name} is gone from {host.name}: {row.snapshot or row.path} is not there."})
    return row


def _require_runnable(host: Host, facts: HostFacts, base: Release | Template) -> None:
    field = "release" if isinstance(base, Release) else "template"
    if base.architecture != facts.architecture:
        raise Refused({field: f"{base.name} is {base.architecture}; {host.name} is {facts.architecture}."})
    release = _release_of(base)
    if release is None:
        return
    if not uname.userland_not_newer(uname.Release.parse(facts.kernel), uname.Release.parse(release.name)):
        raise Refused({field: f"{release.name} is newer than {host.name}, which runs {facts.kernel}."})


def _release_of(base: Release | Template) -> Release | None:
    return base if isinstance(base, Release) else base.release


def _pool_for(host: Host, facts: HostFacts, wish: Mapping[str, Any], base: Release | Template) -> str:
    """The pool for the jail's dataset, "" for one on UFS. A clone is in the pool of what it is a clone of."""
    if wish["storage"] == Storage.UFS:
        return ""
    pool = layout.pool_of(host, facts)
    if not pool:
        raise Refused({"storage": f"{host.name} has no ZFS pool."})
    if base.storage != Storage.ZFS:
        raise Refused({"storage": f"{base.name} is an archive on {host.name}: only jails on UFS are made from it."})
    return base.dataset.partition("/")[0] if wish["kind"] == Jail.Kind.THIN else pool


def _places(host: Host, pool: str, tenant: Tenant | None, name: str) -> tuple[str, str]:
    """Path and dataset."""
    try:
        path = layout.jail_path(host, name)
        dataset = layout.jail_dataset(pool, tenant, name) if pool else ""
        names.require("path", layout.draft_path(path, str(uuid.UUID(int=0))), names.path_error)
        if dataset:
            # Under this name, with a snapshot, it is made first.
            names.require("dataset", f"{dataset}.{uuid.UUID(int=0)}@{layout.SNAPSHOT}", names.snapshot_error)
    except ValueError as error:
        raise Refused({"name": f"{error}"}) from error
    return path, dataset


def _require_space(wanted: _Wanted, pool: str) -> None:
    host, facts, wish = wanted.request.host, wanted.request.facts, wanted.request.parameters
    snapshot = facts.snapshot(wanted.base.snapshot) if wanted.base.snapshot else None
    size = trees.size_of(wanted.base, snapshot.referenced if snapshot is not None else 0)
    thin, quota = wish["kind"] == Jail.Kind.THIN, wish["limits"]["quota"]
    needed = MARGIN + (0 if thin else size)
    if quota is not None and quota < needed:
        raise Refused({"quota": f"It needs {_mebibytes(needed)} MiB at least."})
    place = _room(facts, pool, wanted.tenant) if pool else host.jail_root
    free = facts.free_bytes(place)
    if free < needed:
        words = f"{place} has {_mebibytes(free)} MiB left; the jail needs {_mebibytes(needed)} MiB."
        raise Refused({"storage": words})


def _room(facts: HostFacts, pool: str, tenant: Tenant | None) -> str:
    """The nearest dataset above the jail's that is there: it may have a quota."""
    above = (layout.tenant_dataset(pool, tenant), layout.root(pool))
    return next((dataset for dataset in above if facts.dataset(dataset) is not None), pool)


def _mebibytes(size: int) -> int:
    return size >> 20


# What is done


def _port_notes(wanted: _Wanted) -> tuple[str, ...]:
    request = wanted.request
    if not request.parameters["start"]:
        return ()
    tenant = wanted.tenant.pk if wanted.tenant is not None else None
    return in_the_way.notes(request.host, {wanted.name: [one.ip for one in wanted.addresses]}, tenant)


def _tree(wanted: _Wanted) -> trees.Tree:
    wish, base = wanted.request.parameters, wanted.base
    source = {"cellblock:template": base.name}
    if isinstance(base, Release):
        source = {"cellblock:release": f"{base.name}-{base.architecture}"}
    marks = {
        layout.JAIL: uuid_of(wanted.request.operation_id),
        "cellblock:kind": wish["kind"],
        "cellblock:touched": "yes" if _is_touched(wanted) else "no",
        **source,
    }
    return trees.Tree(
        base=base,
        operation_id=wanted.request.operation_id,
        path=wanted.path,
        dataset=wanted.dataset,
        thin=wish["kind"] == Jail.Kind.THIN,
        quota=wish["limits"]["quota"],
        marks=marks,
    )


def _is_touched(wanted: _Wanted) -> bool:
    """Once it is made: from its first start on, and whenever it has a tenant, others decide what is in it."""
    used = wanted.request.parameters["start"] or wanted.access is not None
    return wanted.touched or wanted.tenant is not None or used


def _file(wanted: _Wanted) -> jailfile.JailFile:
    wish = wanted.request.parameters
    return common.make_file(
        name=wanted.name,
        uuid=uuid_of(wanted.request.operation_id),
        path=wanted.path,
        hostname=wish["hostname"],
        addresses=wanted.addresses,
        limits=wish["limits"],
        notes=common.notes_of(wish["storage"], wanted.tenant, wanted.base),
    )


def _place(wanted: _Wanted) -> keys_change.Place:
    return keys_change.Place(wanted.name, wanted.path, f"keys-{wanted.request.operation_id}")


def _access(wanted: _Wanted) -> tuple[Step, ...]:
    """A login with keys, before it first starts: sshd then starts with it."""
    access = wanted.access
    if access is None:
        return ()
    person = keys_change.find_person(access["person"])
    return tuple(keys_change.steps(_place(wanted), access["login"], person, wanted.keys, (), sshd=True))


def _start(wanted: _Wanted) -> tuple[Step, ...]:
    if not wanted.request.parameters["start"]:
        return ()
    start = common.start_step(
        wanted.name,
        wanted.path,
        layout.config_path(wanted.name),
        addresses=wanted.addresses,
        purpose=f"Start {wanted.name}, and see that it runs",
        ours=True,
    )
    stop, *left = start.undo
    wait = Undo(
        Run((("sh", "-c", WAIT_UNTIL_GONE, "sh", wanted.name, str(DYING_SECONDS)),)),
        only_if=(checks.jail_absent(wanted.name), checks.is_not(checks.jail_gone(wanted.name))),
        tolerant=True,
    )
    rules = limits.left_undo(wanted.name, wanted.request.parameters["limits"])
    start = dataclasses.replace(start, undo=(stop, wait, *left, *rules), again=(*start.again, *rules))
    return (*common.free_addresses_step(wanted.addresses), start)


def _boot(wanted: _Wanted, later: HostFacts) -> tuple[Step, ...]:
    """The last thing: nothing that could fail comes after it, so no boot list is ever changed for nothing."""
    name, boots = wanted.name, wanted.request.parameters["boot"]
    if not boots and boot_problem(later):
        return ()
    action = BootList(add=(name,)) if boots else BootList(remove=(name,))
    undo = (Undo(BootList(destroyed=(name,))),)
    words = f"Let {name} start at boot" if boots else f"Keep {name} from starting at boot"
    return (common.boot_step(wanted.request.host, later, action, purpose=words, undo=undo),)


def boot_problem(facts: HostFacts) -> str:
    """Why it cannot be told what starts at boot, or ""."""
    try:
        facts.boot_state()
    except ValueError as error:
        return str(error)
    return ""


def _warnings(wanted: _Wanted, later: HostFacts) -> tuple[str, ...]:
    problem = boot_problem(later)
    return (f"Whether {wanted.name} starts at boot cannot be told: {problem}.",) if problem else ()


def _pool(wanted: _Wanted) -> str:
    return wanted.dataset.partition("/")[0]


def _resources(wanted: _Wanted) -> tuple[str, ...]:
    host = wanted.request.host
    dataset = (layout.dataset_lock(host, wanted.dataset),) if wanted.dataset else ()
    keys = (layout.jail_lock(host, _place(wanted).alone),) if wanted.access is not None else ()
    return (layout.jail_lock(host, wanted.name), *keys, *dataset, *common.address_locks(wanted.addresses))


def _summary(wanted: _Wanted) -> tuple[str, ...]:
    wish = wanted.request.parameters
    where = f"{wanted.dataset}, mounted on {wanted.path}" if wanted.dataset else wanted.path
    at = ", ".join(f"{address.ip} on {address.interface}" for address in wanted.addresses) or "no address"
    afterwards = "is started" if wish["start"] else "stays stopped"
    boots = "starts at boot" if wish["boot"] else "does not start at boot"
    whose = f"for {wanted.tenant}" if wanted.tenant else "without a tenant"
    held = limits.words({limit: wish["limits"].get(limit) for limit in jailfile.RULES})
    access = wanted.access
    keys = ", ".join(key.comment or key.type for key in wanted.keys)
    opens = (f"{access['login']} gets in by ssh, with {keys}.",) if access is not None else ()
    return (
        f"A {wish['kind']} jail from {wanted.base.name}, in {where}{f', held to {held}' if held else ''}.",
        f"It has {at}, is {whose}, {afterwards} and {boots}.",
        *opens,
    )


kind = JailCreate()
