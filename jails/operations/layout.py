"""Where the panel keeps things on a host: datasets, trees, files and the names of locks.

POOL/cellblock                      not mounted; carries nothing
POOL/cellblock/reserve              not mounted, holds back a fifth of the pool
POOL/cellblock/releases/NAME-ARCH   mounted below /var/db/cellblock/releases; @cellblock makes it real
POOL/cellblock/templates/NAME       mounted below /var/db/cellblock/templates; @cellblock makes it real
POOL/cellblock/TENANT/NAME          a jail's tree, mounted at JAIL_ROOT/NAME; TENANT is `host` for none
JAIL_ROOT/NAME                      a jail's tree on UFS
/var/db/cellblock/releases/NAME-ARCH/    on UFS: base.txz and MANIFEST
/var/db/cellblock/templates/NAME/        on UFS: tree.tar
/etc/jail.conf.d/NAME.conf          a jail's configuration
/var/log/cellblock/NAME.log         a jail's console, turned over by newsyslog(8)
"""

from __future__ import annotations

from jails.freebsd import names
from jails.hosts.facts import JAIL_CONF_D, RELEASES, TEMPLATES, HostFacts
from jails.hosts.zfs_reader import Pool
from jails.models import Host, Tenant
from jails.operations.kind import Refused

ROOT = "cellblock"
NO_TENANT = "host"
SNAPSHOT = "cellblock"
"""Of a release or template: it is real when this snapshot of it is there."""
RESERVE = "reserve"
RESERVE_SHARE = 0.2
CONSOLE_LOGS = "/var/log/cellblock"
NEWSYSLOG = "/etc/newsyslog.conf.d/cellblock.conf"
# newsyslog.conf(5): mode, files kept, size in kB, when; G takes the name as a pattern, N sends nobody a signal.
NEWSYSLOG_TEXT = f"""\
# Managed by Cellblock: the consoles of its jails.
{CONSOLE_LOGS}/*.log\t\t600  5\t1000\t*\tGN
"""
OPERATION = "cellblock:operation"
"""The property that says which operation made a dataset, in the command that makes it."""
JAIL = "cellblock:jail"
"""The property of a jail's dataset that holds the jail's uuid, so that a lost database can be rebuilt."""


def pool_of(host: Host, facts: HostFacts) -> str:
    """The pool for jails: the one the host's page names, else its first; "" for a host without ZFS.

    Raises Refused where the named one is not there.
    """
    facts.require("zfs")
    if not host.pool:
        return facts.pools[0].name if facts.pools else ""
    if facts.pool(host.pool) is None:
        raise Refused(f"{host.name} has no pool {host.pool}: name another one on the host's page.")
    return host.pool


def root(pool: str) -> str:
    return f"{pool}/{ROOT}"


def reserve_dataset(pool: str) -> str:
    return f"{root(pool)}/{RESERVE}"


def reserve_size(pool: Pool) -> int:
    """A fifth of what data may use, in bytes: rounded down to about a thousandth of the pool.

    What is used and what is available add up to nearly the same at all times; rounded it is the same in every plan.
    """
    grain = max(1 << 20, pool.size // 1024 // (1 << 20) * (1 << 20))
    return int((pool.used + pool.available) * RESERVE_SHARE) // grain * grain


def releases_dataset(pool: str) -> str:
    return f"{root(pool)}/releases"


def templates_dataset(pool: str) -> str:
    return f"{root(pool)}/templates"


def release_dataset(pool: str, name: str, architecture: str) -> str:
    return f"{releases_dataset(pool)}/{name}-{architecture}"


def template_dataset(pool: str, name: str) -> str:
    return f"{templates_dataset(pool)}/{name}"


def tenant_dataset(pool: str, tenant: Tenant | None) -> str:
    return f"{root(pool)}/{tenant.slug if tenant else NO_TENANT}"


def jail_dataset(pool: str, tenant: Tenant | None, name: str) -> str:
    return f"{tenant_dataset(pool, tenant)}/{name}"


def snapshot_of(dataset: str) -> str:
    return f"{dataset}@{SNAPSHOT}"


def release_path(name: str, architecture: str) -> str:
    return f"{RELEASES}/{name}-{architecture}"


def template_path(name: str) -> str:
    return f"{TEMPLATES}/{name}"


def template_archive(name: str) -> str:
    """On UFS: the tree of a template."""
    return f"{template_path(name)}/tree.tar"


def jail_path(host: Host, name: str) -> str:
    return names.require("path", f"{host.jail_root.rstrip('/')}/{name}", names.path_error)


def draft_path(path: str, operation_id: str) -> str:
    """Beside `path`, under a name that holds the operation's id: where a tree is made before it becomes real."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{operation_id}"


def config_path(name: str) -> str:
    return f"{JAIL_CONF_D}/{name}.conf"


def console_log(name: str) -> str:
    return f"{CONSOLE_LOGS}/{name}.log"


def lock(host: Host, resource: str) -> str:
    """The name of a lock on something of a host: `host:3/jail:www1`."""
    return f"host:{host.pk}/{resource}"


def jail_lock(host: Host, name: str) -> str:
    return lock(host, f"jail:{name}")


def dataset_lock(host: Host, dataset: str) -> str:
    return lock(host, f"dataset:{dataset}")


def address_lock(ip: str) -> str:
    """Of the whole fleet: a network may be shared."""
    return f"address:{ip}"


def rc_conf_lock(host: Host) -> str:
    return lock(host, "rc.conf")


def release_lock(host: Host, name: str, architecture: str) -> str:
    return lock(host, f"release:{name}-{architecture}")


def template_lock(host: Host, name: str) -> str:
    return lock(host, f"template:{name}")
