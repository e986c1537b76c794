"""The fixes of jails.readiness: each a few steps from the facts, with an undo that leaves the host as it was.

A new one is a function that returns a `Fixing`, and a line in FIXES.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jails.freebsd import loaderconf, loginconf, mount, names, rcconf, service, sshd_config, zfs, zpool
from jails.hosts.facts import RC_CONF, HostFacts, plain_address
from jails.models import Host
from jails.operations import checks, common, effects, host_setup, layout
from jails.operations.kind import Refused, Request
from jails.operations.step import Action, Check, RemoveFile, Run, Step, Undo, WriteFile
from jails.operations.wish import Wish
from jails.readiness import boot, services, storage, trees

SERVICE_SECONDS = 90
SECURE = "-ss"


@dataclass(frozen=True)
class Fixing:
    """What a fix is on one host as it is now."""

    steps: tuple[Step, ...]
    summary: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fix:
    """title: what it does, for the title of an operation, with its parameters in braces. button: what its button says.

    parameters: name → how a Wish takes it. system: for administrators alone.
    """

    title: str
    build: Callable[[Request], Fixing]
    button: str
    parameters: Mapping[str, Callable[[Wish, str], Any]] = field(default_factory=dict)
    system: bool = False


# rc.conf


def rc_step(
    host: Host, facts: HostFacts, name: str, value: str, purpose: str, *, after_undo: Iterable[Action] = ()
) -> Step:
    """Set a variable of rc.conf; `after_undo` is run once it has its old value again.

    Raises ValueError where only sh can tell what it is now, and Refused where it is so already.
    """
    now = rcconf.parse(facts.rc_conf)
    was = now.get(name)
    if name in now.values and was == value:
        raise Refused(f"{name} is “{value}” in rc.conf of {host.name} already.")
    action, back, is_set = _change(facts, name, value, was)
    restored = checks.rc_value(name, was) if is_set else checks.rc_unset(name)
    return Step(
        key=f"rc-{name}",
        purpose=purpose,
        action=action,
        done_when=(checks.rc_value(name, value),),
        undo=(
            Undo(back, only_if=(checks.rc_value(name, value),)),
            *(Undo(one, only_if=(restored,)) for one in after_undo),
        ),
        seconds=60,
    )


def _change(facts: HostFacts, name: str, value: str, was: str) -> tuple[Action, Action, bool]:
    """How to set it, how to take that back byte for byte, and whether it is set now.

    sysrc(8) where it can do both. It writes double quotes where there were none, and runs two lines into one where the
    last is not ended: then the file is written as a whole.
    """
    setting = [(path, rows) for path in RC_CONF[:2] if (rows := rcconf.assigned(facts.file(path) or "", name))]
    path, rows = setting[-1] if setting else (RC_CONF[0], [])
    text = facts.file(path)
    if rows and rcconf.is_plain(rows[-1], name):
        return Run((rcconf.set_value(name, value),)), Run((rcconf.set_value(name, was),)), True
    if not rows and text and text.endswith("\n"):
        return Run((rcconf.set_value(name, value),)), Run((rcconf.remove(name),)), False
    new = _replaced(path, text or "", rows, name, value)
    write = WriteFile(path, new, before=text)
    return write, effects.undo_of(write)[0].action, bool(rows)


def _replaced(path: str, text: str, rows: list[str], name: str, value: str) -> str:
    if not rows:
        ended = text if not text or text.endswith("\n") else f"{text}\n"
        return ended + rcconf.line(name, value)
    old = rows[-1]
    match = re.fullmatch(rf"(\s*(?:export\s+)?{name}=)(?:'[^']*'|\"[^\"$`\\]*\"|[^\s;\"'$`\\#]*)(\s*|\s+#.*)", old)
    if match is None:
        raise ValueError(f'{path}: “{old.strip()[:80]}” is not written plainly; set {name}="{value}" by hand')
    new = rcconf.line(name, value).rstrip("\n").partition("=")[2]
    head, _, tail = text.rpartition(old)
    return f"{head}{match[1]}{new}{match[2]}{tail}"


def rc_fix(name: str, value: str, purpose: str, *, warning: str = "") -> Callable[[Request], Fixing]:
    """A fix that is one variable of rc.conf and nothing else."""

    def build(request: Request) -> Fixing:
        return Fixing(
            steps=(rc_step(request.host, request.facts, name, value, purpose),),
            summary=(f"rc.conf says {name}=“{value}” from then on.",),
            warnings=(warning,) if warning else (),
            resources=(layout.rc_conf_lock(request.host),),
        )

    return build


# Services


def _service_step(
    action: str, name: str, purpose: str, done: tuple[Check, ...], undo: tuple[Undo, ...] = (), **more: Any
) -> Step:
    """Daemons open their sockets a moment after service(8) has ended: the next try finds out."""
    return Step(
        key=f"{action}-{name}",
        purpose=purpose,
        action=Run((service.daemon(action, name),)),
        done_when=done,
        undo=undo,
        seconds=SERVICE_SECONDS,
        attempts=3,
        **more,
    )


def service_off(request: Request) -> Fixing:
    host, name = request.host, request.parameters["service"]
    again = Undo(Run((service.daemon("onestart", name),)), only_if=(checks.is_not(checks.listens(name)),))
    # NO would leave sendmail's submission agent on the loopback address.
    value = "NONE" if name == "sendmail" else "NO"
    stop = _service_step("onestop", name, f"Stop {name}", (checks.is_not(checks.listens(name)),), (again,))
    return Fixing(
        steps=(stop, rc_step(host, request.facts, f"{name}_enable", value, f"Let {name} not start with the host")),
        summary=(f"{name} does not run on {host.name} any more, nor after a restart.",),
        warnings=(f"Whatever on {host.name} itself, or elsewhere, uses its {name} has to do without.",),
        resources=(layout.rc_conf_lock(host),),
    )


def syslogd(request: Request) -> Fixing:
    host, facts, address = request.host, request.facts, request.parameters["address"]
    if address:
        _require_own(host, facts, [address], "address")
    was = rcconf.parse(facts.rc_conf).get("syslogd_flags", "-s")
    flags = _syslogd_flags(was, address)
    restart = Run((service.daemon("restart", "syslogd"),))
    done = checks.listens_only("syslogd", *([address] if address else []))
    steps = [_service_step("restart", "syslogd", "Start syslogd with them", (done,))]
    if flags != was:
        words = "Give syslogd the flags that keep it to itself"
        steps.insert(0, rc_step(host, facts, "syslogd_flags", flags, words, after_undo=(restart,)))
    where = (
        f"listens on {address} only" if address else "opens no socket, and sends and receives nothing over the network"
    )
    return Fixing(
        steps=tuple(steps),
        summary=(f"syslogd {where}.", "What programs on the host write is logged as before."),
        warnings=(
            "While it starts again, for about a second, nothing is logged.",
            *_not_static(facts, [address] if address else [], "syslogd"),
            *(() if address else ("Lines of syslog.conf that send to another host (@loghost) send nothing any more.",)),
        ),
        resources=(layout.rc_conf_lock(host),),
    )


def _syslogd_flags(was: str, address: str) -> str:
    """The same flags without -s and -b, and with what is wanted. -a, who may send, only makes sense with an address."""
    words, kept = iter(was.split()), []
    for word in words:
        if re.fullmatch(r"-s+", word) or (word.startswith("-b") and len(word) > 2):
            continue
        if word in ("-b", "-a"):
            other = next(words, "")
            if word == "-a" and address:
                kept += [word, other]
            continue
        kept.append(word)
    allowed = any(word == "-a" for word in kept)
    own = [SECURE] if not address else ["-b", address] if allowed else ["-s", "-b", address]
    return " ".join([*own, *kept])


def sshd(request: Request) -> Fixing:
    host, facts, addresses = request.host, request.facts, request.parameters["addresses"]
    _require_own(host, facts, addresses, "addresses")
    _require_reachable(host, facts, addresses)
    text = facts.file(sshd_config.PATH)
    if text is None:
        raise Refused(f"{host.name} has no {sshd_config.PATH}.")
    _refuse_ports(text)
    reload = service.daemon("reload", "sshd")
    there = checks.listens_at_only("sshd", " ".join(map(str, sshd_config.ports(text))), *addresses)
    done = _service_step("reload", "sshd", "Let sshd listen there", (there,))
    new = sshd_config.with_listen_addresses(text, addresses)
    steps = (*_sshd_file(request.operation_id, text, new, Run((reload,))), done) if new != text else (done,)
    return Fixing(
        steps=steps,
        summary=(
            f"sshd of {host.name} listens on {', '.join(addresses)} and nowhere else.",
            "Sessions that are open stay open, that of the panel among them.",
        ),
        warnings=(
            f"Who reaches {host.name} at another of its addresses, cannot any more.",
            *_not_static(facts, addresses, "sshd"),
        ),
        resources=(layout.lock(host, "sshd"),),
    )


def _sshd_file(operation_id: str, text: str, new: str, reload: Run) -> tuple[Step, ...]:
    """sshd is asked about the new file before it takes its place. The draft's name has the operation's id."""
    draft = WriteFile(f"{sshd_config.PATH}.{operation_id}", new, mode="0600")
    gone = RemoveFile(draft.path, new)
    write = WriteFile(sshd_config.PATH, new, before=text)
    back = Undo(reload, only_if=(checks.file_has(sshd_config.PATH, text),))
    return (
        Step(
            key="draft",
            purpose="Put the new sshd_config beside the old one",
            action=draft,
            done_when=(checks.file_has(draft.path, new),),
            undo=effects.undo_of(draft),
            seconds=30,
        ),
        Step(
            key="test",
            purpose="Ask sshd whether it would take it",
            action=Run((sshd_config.test(draft.path),)),
            changes=False,
            seconds=30,
        ),
        Step(
            key="draft-gone",
            purpose="Take the copy away",
            action=gone,
            done_when=(checks.file_absent(draft.path),),
            undo=(Undo(draft, only_if=(checks.file_absent(draft.path),)),),
            seconds=30,
        ),
        Step(
            key="sshd-config",
            purpose="Name the addresses in sshd_config",
            action=write,
            done_when=(checks.file_has(write.path, new),),
            undo=(*effects.undo_of(write), back),
            seconds=30,
        ),
    )


def _require_own(host: Host, facts: HostFacts, addresses: list[str], name: str) -> None:
    facts.require("interfaces", "jails", "files")
    for address in addresses:
        holder = facts.address_in_use(address)
        if not holder.startswith("interface "):
            whose = f"belongs to {holder}" if holder else f"is no address of {host.name}"
            raise Refused({name: f"{address} {whose}: name one of the host's own."})


def _not_static(facts: HostFacts, addresses: list[str], daemon: str) -> tuple[str, ...]:
    """A warning of addresses that no ifconfig_* of rc.conf(5) names: DHCP or a hand gave them, a restart may not."""
    values = rcconf.parse(facts.rc_conf).values
    static = {
        plain_address(word)
        for name, value in values.items()
        if name.startswith(("ifconfig_", "ipv4_addrs_"))
        for word in value.split()
    }
    lost = [one for one in addresses if one not in static and not ipaddress.ip_address(one).is_loopback]
    if not lost:
        return ()
    words = f"rc.conf does not name {', '.join(lost)} in an ifconfig_*: after a restart of the host {daemon} may not be"
    return (f"{words} able to bind there, and nobody reach it. Make it static first.",)


def _require_reachable(host: Host, facts: HostFacts, addresses: list[str]) -> None:
    """The panel must find the host again where it finds it now.

    A name, or an address in front of a translation, may lead to any of the host's own: then all have to stay.
    """
    if host.kind != Host.Kind.SSH or plain_address(host.address) in addresses:
        return
    own = _own_addresses(facts)
    if plain_address(host.address) in own:
        raise Refused({"addresses": f"{host.address} must stay: the panel reaches {host.name} there."})
    missing = [address for address in own if address not in addresses]
    if missing:
        raise Refused(
            {
                "addresses": f"The panel reaches {host.name} as {host.address}, which may be any of its addresses: "
                f"{', '.join(missing)} must stay as well. Or give the host's page an address in its place."
            }
        )


def _own_addresses(facts: HostFacts) -> list[str]:
    found = []
    for interface in facts.interfaces:
        for address in interface.addresses:
            ip = ipaddress.ip_address(plain_address(address.ip))
            own = facts.address_in_use(str(ip)).startswith("interface ")
            if own and not (ip.is_loopback or ip.is_link_local):
                found.append(str(ip))
    return list(dict.fromkeys(found))


def _refuse_ports(text: str) -> None:
    for value in sshd_config.listen_addresses(text):
        address, port = sshd_config.plain_address(value)
        if port is not None or not address or len(value.split()) > 1:
            raise Refused(f"sshd_config says ListenAddress {value[:80]}: change that by hand, the panel would lose it.")
    if sshd_config.includes(text):
        raise Refused("sshd_config includes other files, which may name addresses: change it by hand.")


def ntpd(request: Request) -> Fixing:
    host, facts = request.host, request.facts
    conf = rcconf.parse(facts.rc_conf)
    other = next((name for name in ("openntpd", "chronyd") if conf.is_yes(f"{name}_enable")), "")
    if other:
        raise Refused(f"{other} is to keep the time of {host.name}: set {other}_enable=NO first, or leave it at that.")
    steps = []
    if not conf.is_yes("ntpd_enable"):
        steps.append(rc_step(host, facts, "ntpd_enable", "YES", "Let ntpd start with the host"))
    if not conf.is_yes("ntpd_sync_on_start"):
        steps.append(
            rc_step(host, facts, "ntpd_sync_on_start", "YES", "Let it set a clock that is far off, at its start")
        )
    runs = (checks.listens("ntpd"),)
    stop = Undo(Run((service.daemon("onestop", "ntpd"),)), only_if=runs)
    steps.append(_service_step("start", "ntpd", "Start ntpd", runs, (stop,), ensure=True))
    return Fixing(
        steps=tuple(steps),
        summary=(f"ntpd keeps the clock of {host.name}, and of all its jails; it has UDP 123 on every address.",),
        warnings=("At its first start the clock may jump.",),
        resources=(layout.rc_conf_lock(host),),
    )


def clock(request: Request) -> Fixing:
    host, facts = request.host, request.facts
    conf = rcconf.parse(facts.rc_conf)
    if not conf.is_yes("ntpd_enable"):
        raise Refused(f"ntpd does not start on {host.name}: enable it first.")
    steps = []
    if not conf.is_yes("ntpd_sync_on_start"):
        steps.append(
            rc_step(host, facts, "ntpd_sync_on_start", "YES", "Let ntpd set a clock that is far off, at its start")
        )
    restart = _service_step("restart", "ntpd", "Start ntpd again, which sets the clock", (checks.listens("ntpd"),))
    return Fixing(
        steps=(*steps, restart),
        summary=(f"ntpd asks its servers and sets the clock of {host.name}.",),
        warnings=("The clock jumps, for every jail: what counts on steady time (databases, mail) may stumble.",),
        resources=(layout.rc_conf_lock(host),),
    )


# The kernel


def racct(request: Request) -> Fixing:
    host, text = request.host, request.facts.file(loaderconf.PATH)
    if loaderconf.values(text or "").get("kern.racct.enable") == "1":
        raise Refused(f"{loaderconf.PATH} of {host.name} has it already: it counts from the next start of the host.")
    write = WriteFile(loaderconf.PATH, loaderconf.with_value(text or "", "kern.racct.enable", "1"), before=text)
    step = Step(
        key="loader-conf",
        purpose="Have the loader turn on the accounting of resources",
        action=write,
        done_when=(checks.file_has(write.path, write.content),),
        undo=effects.undo_of(write),
        seconds=30,
    )
    return Fixing(
        steps=(step,),
        summary=("Limits on memory and processor are enforced from the next start of the host.",),
        warnings=(f"{host.name} has to be restarted for it, at a time of your choosing: the panel does not do that.",),
        resources=(layout.lock(host, "loader.conf"),),
    )


def forwarding(request: Request) -> Fixing:
    host, name = request.host, "net.inet.ip.forwarding"
    steps = []
    if not rcconf.parse(request.facts.rc_conf).is_yes("gateway_enable"):
        steps.append(rc_step(host, request.facts, "gateway_enable", "YES", "Forward packets after a restart as well"))
    on = checks.sysctl_is(name, "1")
    was = Run((("sysctl", "-n", name),), captures=(("forwarding", r"^([01])$"),))
    steps += [
        Step(key="forwarding-was", purpose="Note whether packets are forwarded", action=was, changes=False, seconds=30),
        Step(
            key="forwarding",
            purpose="Forward packets from now on",
            action=Run((("sysctl", f"{name}=1"),)),
            done_when=(on,),
            undo=(Undo(Run((("sysctl", f"{name}=${{forwarding}}"),)), only_if=(on,)),),
            seconds=30,
        ),
    ]
    return Fixing(
        steps=tuple(steps),
        summary=(f"{host.name} forwards IPv4 packets, which NAT for jails needs.",),
        warnings=(f"Without a packet filter {host.name} is a router for whoever sends it packets.",),
        resources=(layout.rc_conf_lock(host),),
    )


# ZFS


def scrub(request: Request) -> Fixing:
    pool = _pool(request)
    step = Step(
        key="scrub",
        purpose=f"Read all of {pool} and compare it with its checksums",
        action=Run((zpool.scrub(pool),)),
        done_when=(checks.scrubbed(pool),),
        seconds=60,
    )
    return Fixing(
        steps=(step,),
        summary=(f"A scrub of {pool} begins; it goes on by itself, for hours on a large pool.",),
        warnings=(f"Disks are busier meanwhile. zpool scrub -s {pool} stops it.",),
        resources=(layout.lock(request.host, f"pool:{pool}"),),
    )


def _pool(request: Request) -> str:
    pool: str = request.parameters["pool"]
    if request.facts.pool(pool) is None:
        raise Refused({"pool": f"{request.host.name} has no pool {pool}."})
    return pool


def reserve(request: Request) -> Fixing:
    pool = _pool(request)
    steps = host_setup.reserve_steps(request, pool)
    if not steps:
        raise Refused(f"A fifth of {pool} is held back already.")
    return Fixing(
        steps=(common.ensure_root(request.host, pool, request.operation_id), *steps),
        summary=(f"A fifth of {pool} is held back for emergencies: jails cannot use it.",),
        resources=(
            layout.lock(request.host, "parents"),
            layout.dataset_lock(request.host, layout.reserve_dataset(pool)),
        ),
    )


def reserve_lower(request: Request) -> Fixing:
    name = _pool(request)
    pool, dataset = request.facts.pool(name), layout.reserve_dataset(name)
    there = request.facts.dataset(dataset)
    if pool is None or there is None or not there.reservation:
        held = f"it is {pool.reserve_dataset} that holds back, made by hand" if pool and pool.reserve else "nothing is"
        raise Refused(f"The panel holds back nothing of {name} that it could lower: {held}.")
    wanted = int(layout.reserve_size(pool) * storage.LOWERED / storage.SHARE)
    if there.reservation <= wanted:
        raise Refused(f"No more than 15 % of {name} is held back already. Make room: the rest keeps deleting possible.")
    lowered = checks.dataset_property(dataset, "reservation", str(wanted))
    back = Run((zfs.set_properties(dataset, {"reservation": str(there.reservation)}),))
    step = Step(
        key="reserve",
        purpose=f"Hold back 15 % of {name} instead of a fifth, until there is room again",
        action=Run((zfs.set_properties(dataset, {"reservation": str(wanted)}),)),
        done_when=(lowered,),
        undo=(Undo(back, only_if=(lowered,)),),
        seconds=60,
    )
    return Fixing(
        steps=(step,),
        summary=(f"Jails get {(there.reservation - wanted) >> 20} MiB more of {name}, to clean up with.",),
        warnings=("This works once. Remove or move what fills the pool, then raise the reserve to a fifth again.",),
        resources=(layout.dataset_lock(request.host, dataset),),
    )


# Boot


def jail_enable(request: Request) -> Fixing:
    host, facts = request.host, request.facts
    state = facts.boot_state()
    if state.mode != "off":
        raise Refused(f"jail_enable is YES on {host.name} already.")
    starts = state.listed or state.everything
    which = ", ".join(starts) if starts else "none yet"
    return Fixing(
        steps=(rc_step(host, facts, "jail_enable", "YES", "Let rc.d/jail start jails with the host"),),
        summary=(f"Starts with {host.name} from then on: {which}.", "Nothing is started now."),
        warnings=("All these start with the host, also those that somebody meant to keep down.",) if starts else (),
        resources=(layout.rc_conf_lock(host),),
    )


def jail_list(request: Request) -> Fixing:
    host, facts = request.host, request.facts
    state = facts.boot_state()
    unknown = boot.unconfigured(facts, state) if state.mode == "list" else []
    if not unknown:
        raise Refused(f"Every name in jail_list of {host.name} is a jail that a file describes.")
    left = [name for name in state.boots_today if name not in unknown]
    steps = [rc_step(host, facts, "jail_list", " ".join(left), f"Take {', '.join(unknown)} out of jail_list")]
    if not left:
        # An empty list means that all of jail.conf starts.
        steps.insert(
            0, rc_step(host, facts, "jail_enable", "NO", "Keep jails from starting that the list has kept down")
        )
    return Fixing(
        steps=tuple(steps),
        summary=(f"Starts with {host.name}, as today: {', '.join(left) or 'none'}.",),
        resources=(layout.rc_conf_lock(host),),
    )


def boot_order(request: Request) -> Fixing:
    host, facts = request.host, request.facts
    state = facts.boot_state()
    sorted_names = boot.in_order(state.boots_today, boot.dependencies(facts, state.boots_today))
    if state.mode != "list" or sorted_names == state.boots_today:
        raise Refused(f"The order of jail_list on {host.name} is right as it is.")
    if sorted_names is None:
        raise Refused(f"Jails of {host.name} depend on each other: take one “depend” out of its file.")
    words = "Put each jail after those it depends on"
    return Fixing(
        steps=(rc_step(host, facts, "jail_list", " ".join(sorted_names), words),),
        summary=(f"Today: {', '.join(state.boots_today)}.", f"Then: {', '.join(sorted_names)}."),
        resources=(layout.rc_conf_lock(host),),
    )


# Trees, and what iocage wants


def tree_mode(request: Request) -> Fixing:
    host, facts, path = request.host, request.facts, request.parameters["path"]
    folders = {trees.folder_of(root) for root in trees.roots_of(facts)} | {facts.jail_root}
    if path not in folders or not trees.may_close(path, facts.jail_root):
        raise Refused({"path": f"{path} is no folder for jails alone on {host.name}."})
    return Fixing(
        steps=host_setup.closed_steps(path),
        summary=(f"Only root may enter {path}. Jails do not notice: what runs in them begins below it.",),
        warnings=(f"Ordinary users of {host.name} cannot look into {path} any more, for backups for example.",),
        resources=(layout.lock(host, f"folder:{path}"),),
    )


def fdescfs(request: Request) -> Fixing:
    host, facts = request.host, request.facts
    facts.require("mounts")
    steps = []
    if not any(row.path == "/dev/fd" and row.type == "fdescfs" for row in facts.mounts):
        there = (checks.mounted("/dev/fd"),)
        steps.append(
            Step(
                key="mount-fdescfs",
                purpose="Mount fdescfs",
                action=Run((mount.fdescfs(),)),
                done_when=there,
                undo=(Undo(Run((mount.unmount("/dev/fd"),)), only_if=there),),
                seconds=30,
            )
        )
    if not trees.fdescfs_line(facts):
        text = facts.file("/etc/fstab")
        ended = text if not text or text.endswith("\n") else f"{text}\n"
        line = mount.fstab_line("fdesc", "/dev/fd", "fdescfs")
        steps.append(
            _file_step("fstab", "Mount it at boot as well", WriteFile("/etc/fstab", f"{ended or ''}{line}", text))
        )
    if not steps:
        raise Refused(f"fdescfs is mounted on {host.name} already, and in its fstab.")
    return Fixing(
        steps=tuple(steps),
        summary=("/dev/fd has the files that a process has open, as iocage expects.",),
        resources=(layout.lock(host, "fstab"),),
    )


def locale(request: Request) -> Fixing:
    host, text = request.host, request.facts.file(loginconf.PATH)
    if text is None or loginconf.is_utf8(text):
        raise Refused(
            f"The class “default” of {host.name} is UTF-8 already." if text else f"{host.name} has no login.conf."
        )
    write = WriteFile(loginconf.PATH, loginconf.with_utf8(text), before=text)
    rebuild = Run((loginconf.REBUILD,))
    back = Undo(rebuild, only_if=(checks.file_has(write.path, text),))
    return Fixing(
        steps=(
            _file_step("login-conf", "Give everybody a UTF-8 locale who has no other", write, back),
            Step(key="login-db", purpose="Make the database of it that login reads", action=rebuild, seconds=30),
        ),
        summary=("From the next login on, programs take texts as UTF-8, iocage among them.",),
        resources=(layout.lock(host, "login.conf"),),
    )


def _file_step(key: str, purpose: str, write: WriteFile, *undo: Undo) -> Step:
    return Step(
        key=key,
        purpose=purpose,
        action=write,
        done_when=(checks.file_has(write.path, write.content),),
        undo=(*effects.undo_of(write), *undo),
        seconds=30,
    )


# The table


def _address(wish: Wish, name: str) -> str:
    return _shortest(wish.text(name, _address_error, default=""))


def _addresses(wish: Wish, name: str) -> list[str]:
    value = wish.take(name)
    if not isinstance(value, (list, tuple)) or not value:
        wish.wrong(name, "names no address: sshd would listen nowhere.")
        return []
    for address in value:
        problem = _address_error(address) if isinstance(address, str) else "must be text."
        if problem:
            wish.wrong(name, f"{str(address)[:64]!r} {problem}")
            return []
    return list(dict.fromkeys(map(_shortest, value)))


def _address_error(value: str) -> str | None:
    return names.ip6_error(value) if ":" in value else names.ip4_error(value)


def _shortest(address: str) -> str:
    return plain_address(address) if address else ""


def _service(wish: Wish, name: str) -> str:
    return wish.choice(name, tuple(services.BASE.values()))


def _pool_name(wish: Wish, name: str) -> str:
    return wish.text(name, names.pool_error)


def _path(wish: Wish, name: str) -> str:
    return wish.text(name, names.path_error)


FIXES: dict[str, Fix] = {
    "securelevel": Fix(
        "Raise no secure level at boot",
        rc_fix(
            "kern_securelevel_enable",
            "NO",
            "Raise no secure level at boot",
            warning="The level that is in force stays until the host is restarted: nothing lowers it before.",
        ),
        "Do not raise it",
        system=True,
    ),
    "clock": Fix("Set the clock", clock, "Set the clock"),
    "racct": Fix("Turn on limits on memory and processor", racct, "Turn on", system=True),
    "forwarding": Fix("Forward packets", forwarding, "Forward packets", system=True),
    "pf_enable": Fix(
        "Start pf at boot", rc_fix("pf_enable", "YES", "Start pf with the host"), "Start at boot", system=True
    ),
    "service_off": Fix("Turn off {service}", service_off, "Turn off", {"service": _service}),
    "syslogd": Fix("Keep syslogd to itself", syslogd, "Keep to itself", {"address": _address}),
    "sshd": Fix("Keep sshd to its addresses", sshd, "Choose addresses", {"addresses": _addresses}, system=True),
    "ntpd": Fix("Keep the time with ntpd", ntpd, "Start ntpd"),
    "scrub": Fix("Scrub {pool}", scrub, "Scrub now", {"pool": _pool_name}),
    "reserve": Fix("Hold back a fifth of {pool}", reserve, "Hold back a fifth", {"pool": _pool_name}),
    "reserve_lower": Fix("Lower the reserve of {pool} to 15 %", reserve_lower, "Lower to 15 %", {"pool": _pool_name}),
    "jail_enable": Fix("Start jails at boot", jail_enable, "Turn on"),
    "jail_list": Fix("Put jail_list right", jail_list, "Take them out"),
    "boot_order": Fix("Put jails in the order they need", boot_order, "Put in order"),
    "zfs_enable": Fix("Mount datasets at boot", rc_fix("zfs_enable", "YES", "Mount datasets with the host"), "Turn on"),
    "tree_mode": Fix("Close {path}", tree_mode, "Close it", {"path": _path}),
    "fdescfs": Fix("Mount fdescfs", fdescfs, "Mount it"),
    "locale": Fix("Make UTF-8 the locale", locale, "Make it UTF-8", system=True),
}
"""Key, as Finding.fix has it → the fix."""
