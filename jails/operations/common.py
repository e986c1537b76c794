"""What several kinds of operation need: finding their jails, addresses, shared parents on a host, common steps."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from jails import plans
from jails.freebsd import boot, files, ifconfig, jail, mount, names, zfs
from jails.hosts.facts import JAIL_CONF_D, HostFacts
from jails.models import Address, Host, Jail, Network, ObservedAddress, Operation, Release, Template, Tenant
from jails.models.release import Storage
from jails.operations import checks, effects, jailfile, layout
from jails.operations.kind import Refused
from jails.operations.step import Action, BootList, Check, Run, Step, Undo, WriteFile

START_SECONDS = 300
"""exec.timeout of our files is 120 s for each command of exec.start; other hooks and mounts come on top."""
STOP_SECONDS = 300
REMOVE_SECONDS = 1800
NOBODY = "00000000-0000-0000-0000-000000000000"

# Jails and other rows


def find_jails(host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
    """The rows of `jails` (uuids) or `jail` (one uuid), in the order given. LookupError when one is not on the host."""
    wanted = parameters["jails"] if "jails" in parameters else [parameters["jail"]]
    rows = Jail.objects.select_related("tenant", "release", "template", "host").filter(host=host, uuid__in=wanted)
    found = {str(row.uuid): row for row in rows}
    for uuid in wanted:
        if uuid not in found:
            raise LookupError(f"{host.name} has no jail {uuid}")
    return [found[uuid] for uuid in wanted]


def find_tenant(key: int | None, field: str = "tenant") -> Tenant | None:
    """The tenant of that id; None for None. Refused when there is none, or it is archived."""
    if key is None:
        return None
    tenant = Tenant.objects.filter(pk=key).first()
    if tenant is None:
        raise Refused({field: "There is no such tenant."})
    if tenant.archived_at is not None:
        raise Refused({field: f"{tenant} is archived."})
    return tenant


def name_taken(
    host: Host, facts: HostFacts, name: str, *, uuid: str = "", datasets: Iterable[str] = (), also: str = ""
) -> str:
    """Who or what has the name of a new jail already: a sentence, or "". `uuid` is the jail's own, which may have it.

    `also` is another one that may (the placeholder of a renamed jail). Also what rc.conf(5) cannot tell from it, and
    the datasets and the path that it would get.
    """
    facts.require("jails", "files", "names")
    rows = Jail.objects.filter(host=host).exclude(uuid__in=[UUID(one or NOBODY) for one in (uuid, also)])
    if rows.filter(name=name).exists():
        return f"{host.name} has a jail {name} already."
    if (running := facts.jail(name)) is not None:
        return f"A jail {name} {'is still dying' if running.dying else 'runs'} on {host.name} already."
    if (configured := facts.configured_jail(name)) is not None:
        return f"{configured.file} on {host.name} describes a jail {name} already."
    if facts.exists(JAIL_CONF_D, f"{name}.conf") or name in facts.own_files:
        return f"There is a file for a jail {name} on {host.name} already."
    others = {jail.name for jail in facts.jails} | {jail.name for jail in facts.configured} | set(facts.own_files)
    others |= set(rows.values_list("name", flat=True))
    if clash := names.jail_name_clash(name, sorted(others)):
        return f"rc.conf(5) cannot tell it from {clash}, which {host.name} has already: “-”, “_” and “.” are one there."
    if facts.exists(host.jail_root, name):
        return f"{layout.jail_path(host, name)} is there on {host.name} already."
    taken = next((dataset for dataset in datasets if facts.dataset(dataset) is not None), "")
    return f"{taken} is there on {host.name} already." if taken else ""


# Addresses


def addresses_of(row: Jail) -> tuple[jailfile.Address, ...]:
    """What the panel has given to a jail, as its file has it."""
    rows = row.addresses.order_by("pk")
    return tuple(jailfile.Address(one.ip, one.interface, one.prefix) for one in rows)


def resolve_addresses(
    host: Host, facts: HostFacts, wanted: Sequence[Mapping[str, Any]], *, uuid: str = "", field: str = "addresses"
) -> tuple[jailfile.Address, ...]:
    """Wishes ({"network": id, "ip": text}) as addresses on interfaces of the host, in the same order.

    `uuid` is the jail's they are for: what it has already it may keep. Raises Refused, at `field`, for an address that
    is not of its network, or that anybody else has, on this host or on another one of the same network.
    """
    facts.require("interfaces", "jails", "files")
    return tuple(_resolve(host, facts, one["network"], one["ip"], uuid, field) for one in wanted)


def _resolve(host: Host, facts: HostFacts, key: int, ip: str, uuid: str, field: str) -> jailfile.Address:
    network = Network.objects.filter(pk=key).first()
    if network is None or network.host_id not in (None, host.pk):
        raise Refused({field: f"{ip}: {host.name} has no network of that id."})
    address = ipaddress.ip_address(ip)
    problem = _network_problem(network, address) or _taken(host, facts, network, str(address), uuid)
    if problem:
        raise Refused({field: problem})
    interface = _interface(host, facts, network, address)
    if not interface:
        raise Refused({field: f"{ip}: name an interface for {network}, or a default one for {host.name}."})
    if interface not in {one.name for one in facts.interfaces}:
        raise Refused({field: f"{ip}: {network} is on {interface}, which {host.name} does not have."})
    return jailfile.Address(str(address), interface, address.max_prefixlen)


def _network_problem(network: Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    cidr = ipaddress.ip_network(network.cidr)
    if address.version != cidr.version or address not in cidr:
        return f"{address} is not in {network} ({network.cidr})."
    if cidr.num_addresses > 2 and address == cidr.network_address:
        return f"{address} is the address of the network {network} itself."
    if cidr.version == 4 and cidr.num_addresses > 2 and address == cidr.broadcast_address:
        return f"{address} is the broadcast address of {network}."
    return ""


def _taken(host: Host, facts: HostFacts, network: Network, ip: str, uuid: str) -> str:
    row = Address.objects.select_related("jail__host").filter(ip=ip, network=network).first()
    if row is not None and str(row.jail.uuid) != uuid:
        return f"{ip} belongs to {row.jail.name} on {row.jail.host.name}."
    if row is not None and row.operation_id is None:
        return ""  # its own already
    if holder := facts.address_in_use(ip):
        return f"{ip} is in use on {host.name}: {holder}."
    if network.host_id is None:
        seen = ObservedAddress.objects.select_related("host").filter(ip=ip).exclude(host=host).first()
        if seen is not None:
            return f"{ip} is in use on {seen.host.name}: {seen.jail_name or seen.interface}."
    return ""


def _interface(
    host: Host, facts: HostFacts, network: Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> str:
    """Of the network, else of the host, else where the host itself is in the same network, else its first one."""
    if network.interface or host.interface:
        return network.interface or host.interface
    first = ""
    for interface in facts.interfaces:
        for own in interface.addresses:
            if address in ipaddress.ip_network(f"{own.ip}/{own.prefix}", strict=False):
                return interface.name
            if not first and "LOOPBACK" not in interface.flags and ":" not in own.ip:
                first = interface.name
    return first


def reserve_addresses(operation: Operation, row: Jail, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Take what the jail has not yet, for this operation. IntegrityError or Refused: somebody else was first.

    `keep_addresses` makes them the jail's for good, `release_addresses` gives them back.
    """
    own = set(row.addresses.values_list("network_id", "ip"))
    networks = Network.objects.in_bulk([one["network"] for one in wanted])
    for one in wanted:
        network = networks.get(one["network"])
        if network is None:
            raise Refused({"addresses": f"{one['ip']}: its network is gone."})
        if (network.pk, one["ip"]) in own:
            continue
        prefix = ipaddress.ip_address(one["ip"]).max_prefixlen
        Address.objects.create(network=network, ip=one["ip"], jail=row, prefix=prefix, operation=operation)


def keep_addresses(row: Jail, wanted: Sequence[Mapping[str, Any]], resolved: Sequence[jailfile.Address]) -> None:
    """The jail has these and no others: for `finish`."""
    kept = []
    for one, address in zip(wanted, resolved, strict=True):
        values = {"interface": address.interface, "prefix": address.prefix, "operation": None}
        found, _ = Address.objects.update_or_create(jail=row, network_id=one["network"], ip=address.ip, defaults=values)
        kept.append(found.pk)
    row.addresses.exclude(pk__in=kept).delete()


def release_addresses(operation: Operation) -> None:
    """What `reserve_addresses` took and nobody kept: for `release`."""
    Address.objects.filter(operation=operation).delete()


def address_locks(addresses: Iterable[jailfile.Address]) -> tuple[str, ...]:
    return tuple(layout.address_lock(address.ip) for address in addresses)


def addresses_to_result(addresses: Iterable[jailfile.Address]) -> tuple[tuple[str, str], ...]:
    """For Plan.result, where `finish` finds them with `addresses_of_result`."""
    return tuple((f"address {number}", str(address)) for number, address in enumerate(addresses))


def addresses_of_result(result: Iterable[tuple[str, str]]) -> tuple[jailfile.Address, ...]:
    found = []
    for name, text in result:
        if name.startswith("address "):
            interface, _, rest = text.partition("|")
            ip, _, prefix = rest.rpartition("/")
            found.append(jailfile.Address(ip, interface, int(prefix)))
    return tuple(found)


# The jail's file


def file_of(
    row: Jail,
    *,
    name: str | None = None,
    path: str | None = None,
    hostname: str | None = None,
    addresses: Iterable[jailfile.Address] | None = None,
    limits: Mapping[str, int | None] | None = None,
) -> jailfile.JailFile:
    """The file of a jail as its row has it, with what is given in its place."""
    return make_file(
        name=row.name if name is None else name,
        uuid=str(row.uuid),
        path=row.path if path is None else path,
        hostname=row.hostname if hostname is None else hostname,
        addresses=addresses_of(row) if addresses is None else addresses,
        limits=row.limits if limits is None else limits,
        more=row.wanted,
        notes=notes_of(row.storage, row.tenant, row.template or row.release),
    )


def notes_of(storage: str, tenant: Tenant | None, base: Release | Template | None) -> dict[str, str]:
    """What a jail's file says in its comment of whose it is and what it was made from: on UFS nothing else does."""
    if storage != Storage.UFS:
        return {}
    return jailfile.notes_of(tenant.slug if tenant is not None else "", jailfile.base_name(base))


def make_file(
    *,
    name: str,
    uuid: str,
    path: str,
    hostname: str,
    addresses: Iterable[jailfile.Address],
    limits: Mapping[str, int | None],
    more: Mapping[str, Sequence[str] | None] | None = None,
    notes: Mapping[str, str] | None = None,
) -> jailfile.JailFile:
    """`limits` as Jail.limits has them; the quota is no part of the file. `more` as Jail.wanted."""
    known = jailfile.in_file(limits)
    return jailfile.JailFile(name, uuid, path, hostname, tuple(addresses), known, more or {}, notes or {})


def write_file_step(file: jailfile.JailFile, *, before: str | None = None, subject: str = "") -> Step:
    """Write /etc/jail.conf.d/NAME.conf: new, or in place of exactly `before`."""
    path = layout.config_path(file.name)
    write = WriteFile(path, file.text(), before=before)
    return Step(
        key=f"file-{file.name}",
        purpose=f"Describe {file.name} to jail(8)",
        action=write,
        done_when=(checks.file_has(path, write.content),),
        undo=effects.undo_of(write),
        seconds=30,
        subject=subject,
    )


def with_file(facts: HostFacts, path: str, text: str) -> HostFacts:
    """The facts as they will be once that file is there: for what depends on it later in the same plan."""
    folder, _, name = path.rpartition("/")
    inside = {folder: tuple(sorted({*facts.names.get(folder, ()), name}))}
    return dataclasses.replace(facts, files={**facts.files, path: text}, names={**facts.names, **inside})


# Steps


def boot_step(
    host: Host,
    facts: HostFacts,
    action: BootList,
    *,
    key: str = "boot",
    purpose: str,
    undo: tuple[Undo, ...] | None = None,
    subject: str = "",
) -> Step:
    """Change what starts at boot. `facts` are as they will be when the step runs (see `with_file`).

    The plan shows the commands and both lists as of now. Raises Refused where this host's boot cannot be changed.
    """
    try:
        change = boot.boot_change(
            facts.boot_state(),
            add=action.add,
            remove=action.remove,
            rename=dict(action.rename),
            destroyed=action.destroyed,
            order=action.order,
        )
    except ValueError as error:
        raise Refused({"boot": f"{host.name}: {error}."}) from error
    now: tuple[str, ...] = ()
    if change.commands:
        lists = tuple(f"# {when}: {' '.join(which) or 'none'}" for when, which in boot_lists(change))
        now = (*(Run((argv,)).shown() for argv in change.commands), *lists)
    shown = dataclasses.replace(action, now=now)
    return Step(
        key=key,
        purpose=purpose,
        action=shown,
        undo=effects.undo_of(action) if undo is None else undo,
        seconds=60,
        subject=subject,
    )


def boot_lists(change: boot.BootChange) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("starts at boot today", change.before), ("starts at boot then", change.after))


def start_step(
    name: str,
    path: str,
    file: str,
    *,
    addresses: Iterable[jailfile.Address] = (),
    key: str = "",
    purpose: str = "",
    subject: str = "",
    ours: bool = False,
    **more: Any,
) -> Step:
    """Start a jail from `file`, and prove by jls(8) that it runs in `path`: jail(8)'s status alone proves nothing.

    `addresses` are those of the file: a start that was killed leaves them, and the jail's devfs. `ours`: the tree at
    `path` is this operation's, so that whatever runs in it may be stopped. `more` goes into the Step. Without a path
    any jail of that name will do: of one that the panel did not make, only the kernel knows the true path.
    """
    runs = runs_check(name, path)
    left = start_leftovers(name, path, addresses)
    stop = Undo(Run((jail.remove(name, file=file, quiet=True),)), only_if=(runs,), after_failure=ours)
    return Step(
        key=key or f"start-{name}",
        purpose=purpose or f"Start {name}",
        action=Run((jail.create(name, file=file, quiet=True),)),
        done_when=(runs,),
        undo=(stop, *left),
        again=(stop, *left),
        seconds=START_SECONDS,
        subject=subject,
        **more,
    )


def runs_check(name: str, path: str) -> Check:
    return checks.jail_running(name, path) if path else checks.is_not(checks.jail_absent(name))


def start_leftovers(name: str, path: str, addresses: Iterable[jailfile.Address]) -> tuple[Undo, ...]:
    """Take away what a start that was killed has left: the jail's devfs and the aliases of its addresses."""
    gone = checks.jail_gone(name)
    devfs = f"{path}/dev"
    undo = []
    if path:
        undo.append(Undo(Run((mount.unmount(devfs),)), only_if=(gone, checks.mounted(devfs)), after_failure=False))
    for address in addresses:
        alias = Run((ifconfig.remove_alias(address.interface, address.ip),))
        there = checks.address_on(address.interface, address.ip)
        undo.append(Undo(alias, only_if=(gone, there), after_failure=False))
    return tuple(undo)


def stop_step(
    name: str,
    path: str,
    file: str,
    *,
    addresses: Iterable[jailfile.Address] = (),
    devfs: bool = False,
    key: str = "",
    purpose: str = "",
    subject: str = "",
    undo: tuple[Undo, ...] | None = None,
    **more: Any,
) -> Step:
    """Stop a jail as `file` says, which must have the text that it was started with. Undone by starting it again.

    A stop that is cut off leaves what comes after the end of the jail: the `addresses` that it has from its file, and
    its devfs, are waited for and taken away where jail(8) will not any more, as it knows no such jail by then.
    """
    runs = runs_check(name, path)
    gone = checks.jail_absent(name)
    left, done = [], [checks.is_not(runs)]
    if devfs:
        place = f"{path}/dev"
        done.append(checks.unmounted(place))
        left.append(Undo(Run((mount.unmount(place),)), only_if=(gone, checks.mounted(place))))
    for address in addresses:
        on = checks.address_on(address.interface, address.ip)
        done.append(checks.is_not(on))
        left.append(Undo(Run((ifconfig.remove_alias(address.interface, address.ip),)), only_if=(gone, on)))
    start = Undo(Run((jail.create(name, file=file, quiet=True),)), only_if=(gone,))
    return Step(
        key=key or f"stop-{name}",
        purpose=purpose or f"Stop {name}",
        action=Run((jail.remove(name, file=file, quiet=True),)),
        done_when=tuple(done),
        undo=(*left, start) if undo is None else undo,
        again=tuple(left),
        seconds=STOP_SECONDS,
        subject=subject,
        # A stop whose last hook fails ends with an error though the jail is gone: the next try finds out.
        attempts=3,
        **more,
    )


def free_addresses_step(addresses: Sequence[jailfile.Address]) -> tuple[Step, ...]:
    """See that nobody has taken the addresses since the plan was made; no step where there are none."""
    if not addresses:
        return ()
    ips = [address.ip for address in addresses]
    step = Step(
        key="addresses",
        purpose=f"See that {', '.join(ips)} {'is' if len(ips) == 1 else 'are'} still free",
        action=Run((ifconfig.LIST,)),
        done_when=tuple(checks.address_free(ip) for ip in ips),
        changes=False,
        seconds=30,
    )
    return (step,)


# What is shared by all jails of a host: made where it is missing, by whichever operation comes first


def ensure_dataset(
    host: Host, dataset: str, operation_id: str, properties: Mapping[str, str], purpose: str, *, key: str = ""
) -> Step:
    """Make a parent dataset where there is none. Rolled back only while no other operation is under way there."""
    made = {layout.OPERATION: operation_id, **properties}
    ours = checks.dataset_ours(dataset, operation_id)
    return Step(
        key=key or f"parent-{dataset.rpartition('/')[2]}",
        purpose=purpose,
        action=Run((zfs.create(dataset, made),)),
        done_when=(checks.dataset_exists(dataset),),
        undo=(Undo(Run((zfs.destroy(dataset),)), only_if=(ours, checks.alone(operation_id)), tolerant=True),),
        seconds=60,
        ensure=True,
        resources=(layout.lock(host, "parents"),),
    )


def ensure_directory(host: Host, path: str, operation_id: str, purpose: str, *, mode: str = "0755") -> Step:
    """Make a shared folder where there is none. Rolled back while it is empty and no other operation is under way."""
    empty = (checks.directory_empty(path), checks.alone(operation_id))
    return Step(
        key=f"folder-{path}",
        purpose=purpose,
        action=Run((files.make_directory(path, mode=mode),)),
        done_when=(checks.directory_exists(path),),
        undo=(Undo(Run((files.remove_directory(path),)), only_if=empty, tolerant=True),),
        seconds=30,
        ensure=True,
        resources=(layout.lock(host, "parents"),),
    )


def each_once(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Without those whose key came before: parents that several things need."""
    found: dict[str, Step] = {}
    for step in steps:
        found.setdefault(step.key, step)
    return tuple(found.values())


UNMOUNTED = {"mountpoint": "none", "canmount": "off"}


def ensure_root(host: Host, pool: str, operation_id: str) -> Step:
    return ensure_dataset(
        host, layout.root(pool), operation_id, UNMOUNTED, "Have a dataset for all that is Cellblock's"
    )


def ensure_tenant(host: Host, pool: str, tenant: Tenant | None, operation_id: str) -> Step:
    """POOL/cellblock/TENANT: needs ensure_root before it."""
    dataset = layout.tenant_dataset(pool, tenant)
    whose = f"the jails of {tenant}" if tenant else "jails without a tenant"
    share = plans.share_of(plans.plan_of(tenant), host) if tenant else None
    quota = {"quota": str(share)} if share else {}
    return ensure_dataset(host, dataset, operation_id, UNMOUNTED | quota, f"Have a dataset for {whose}")


def ensure_jail_parents(
    host: Host, operation_id: str, *, pool: str = "", tenant: Tenant | None = None
) -> tuple[Step, ...]:
    """What a new jail, or one that moves, needs to have above it. `pool`: for one on ZFS."""
    datasets = (ensure_root(host, pool, operation_id), ensure_tenant(host, pool, tenant, operation_id)) if pool else ()
    return (*datasets, ensure_jail_root(host, operation_id), *ensure_console_logs(host, operation_id))


def ensure_jail_root(host: Host, operation_id: str) -> Step:
    words = "Have a folder for jails that other users of the host cannot enter"
    return ensure_directory(host, host.jail_root, operation_id, words, mode="0700")


def ensure_console_logs(host: Host, operation_id: str) -> tuple[Step, ...]:
    """The folders for jails' files and console logs, and newsyslog(8) to turn those over."""
    write = WriteFile(layout.NEWSYSLOG, layout.NEWSYSLOG_TEXT)
    removed = (checks.file_has(write.path, write.content), checks.alone(operation_id))
    logs = layout.CONSOLE_LOGS
    return (
        ensure_directory(host, JAIL_CONF_D, operation_id, "Have a folder for the files of jails"),
        ensure_directory(host, logs, operation_id, "Have a folder for the console logs of jails", mode="0700"),
        Step(
            key="newsyslog",
            purpose="Keep console logs from growing without bound",
            action=write,
            done_when=(checks.path_exists(write.path),),
            undo=(Undo(effects.undo_of(write)[0].action, only_if=removed, tolerant=True),),
            seconds=30,
            ensure=True,
            resources=(layout.lock(host, "parents"),),
        ),
    )


def ensure_bases(host: Host, operation_id: str, folder: str, *, pool: str = "") -> tuple[Step, ...]:
    """What releases (folder=RELEASES) or templates (folder=TEMPLATES) need to have above them.

    On ZFS the datasets below inherit their mount point, and ZFS takes the folder away with the mount.
    """
    above, _, kind = folder.rpartition("/")
    steps = [
        ensure_directory(host, above, operation_id, "Have a folder for what jails are made from", mode="0700"),
        ensure_directory(host, folder, operation_id, f"Have a folder for {kind}", mode="0700"),
    ]
    if pool:
        properties = {"mountpoint": folder, "canmount": "off"}
        dataset = f"{layout.root(pool)}/{kind}"
        steps.append(ensure_root(host, pool, operation_id))
        steps.append(ensure_dataset(host, dataset, operation_id, properties, f"Have a dataset for {kind}"))
    return tuple(steps)


# Removing a tree that is proved to be this operation's, or the panel's to remove


def remove_tree(path: str, proof: Iterable[Check]) -> tuple[Undo, ...]:
    """Undo for a tree on UFS: nothing may be mounted in it, then flags that even root minds go, then the tree."""
    only_if = (*proof, checks.unmounted(path), checks.nothing_mounted_below(path))
    return tuple(Undo(Run((argv,)), only_if=only_if) for argv in (files.clear_flags(path), files.remove_tree(path)))


# Making a folder or a tree under a name with the operation's id first, and renaming it last

MOVE_NEW = """\
if [ -e "$2" ] || [ -L "$2" ]; then echo "$2: File exists" >&2; exit 1; fi
mv -n "$1" "$2\""""
# mv(1) would move into a folder of that name. Should one appear between the question and the rename, *done when* shows
# it, and what was moved there is known by its inode number.


def move_steps(
    draft: str, path: str, *, purpose: str, capture: str, undo: Sequence[Action], more: Sequence[Check] = ()
) -> tuple[Step, ...]:
    """Rename `draft`, whose name has the operation's id, to `path`, where nothing may be.

    `capture` names the inode number, which proves from then on that it is the one made here. `undo` are the actions
    that remove what is at `path`, done only where that is so and `more` holds as well.
    """
    inode = f"${{{capture}}}"
    moved, astray = checks.inode_is(path, inode), f"{path}/{draft.rpartition('/')[2]}"
    back = (Undo(Run((files.move(astray, draft),)), only_if=(checks.inode_is(astray, inode),)),)
    gone = tuple(Undo(action, only_if=(moved, *more)) for action in undo)
    return (
        Step(
            key=f"note-{capture}",
            purpose="Note its inode number, which tells it from any other of the same name",
            action=Run((("stat", "-f", "%i", draft),), captures=((capture, r"^([0-9]+)$"),)),
            changes=False,
            seconds=30,
        ),
        Step(
            key=f"move-{capture}",
            purpose=purpose,
            action=Run((("sh", "-c", MOVE_NEW, "sh", draft, path),)),
            done_when=(moved,),
            undo=(*back, *gone),
            seconds=60,
        ),
    )


def mount_point_steps(path: str, operation_id: str, *, capture: str = "mount_point") -> tuple[Step, ...]:
    """A new empty folder to mount a dataset on. ZFS would also mount over somebody's folder that has files in it."""
    draft = layout.draft_path(path, f"{operation_id}.mount")
    remove = Run((files.remove_directory(draft),))
    empty = (checks.directory_empty(path), checks.unmounted(path))
    return (
        Step(
            key=f"make-{capture}",
            purpose="Make a folder to mount it on, under a name that nobody else has",
            action=Run((files.make_directory(draft, mode="0755"),)),
            done_when=(checks.directory_exists(draft),),
            undo=(Undo(remove, only_if=(checks.directory_exists(draft),)),),
            seconds=30,
        ),
        *move_steps(
            draft,
            path,
            purpose=f"Give it its name, {path}",
            capture=capture,
            undo=(Run((files.remove_directory(path),)),),
            more=empty,
        ),
    )


__all__ = [name for name in dir() if not name.startswith("_")]
