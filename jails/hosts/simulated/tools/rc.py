"""rc(8): service(8), sysrc(8) and the boot of the simulated host."""

from __future__ import annotations

from typing import Any

from jails.freebsd import loaderconf
from jails.hosts.simulated import clock, daemons, network, rcconf
from jails.hosts.simulated.world import World


def service(process: Any) -> int:
    from . import service as module

    return module.main(process)


def sysrc(process: Any) -> int:
    from . import sysrc as module

    return module.main(process)


def reboot(caller: Any) -> int:
    """shutdown -r now and boot: nothing of the kernel's memory survives, rc starts what the files tell it to."""
    process = World(caller)
    _shut_down(process)
    variables = rcconf.load(_reader(process))
    _kernel(process, variables)
    _network(process, variables)
    if process.stat("/etc/fstab"):
        process.run_quietly(["mount", "-a"])
    process.run_quietly(["zfs", "mount", "-a"])
    _limits(process, variables)
    from . import service as module

    for name in [*module.ORDER, *module.local_scripts(process)]:
        if name not in module.ONCE and module.enabled(variables, name):
            module.script(process, name, "start", [])
    if module.enabled(variables, "pf"):
        module.script(process, "pf", "start", [])
    process.run_quietly(["mount", "-al"])
    if module.enabled(variables, "jail"):
        module.script(process, "jail", "start", [])
    process.flush()
    return 0


def _reader(process: World) -> rcconf.Read:
    def read(path: str) -> str | None:
        try:
            return process.read_text(path)
        except OSError:
            return None

    return read


def _shut_down(process: World) -> None:
    with process.host.changing() as state:
        daemons.end(state, list(state.get("processes", [])))
        state |= {"jails": [], "lastjid": 0, "rctl": [], "sysctl": {}, "sockets": [], "booted": int(clock.now())}
        for name in ("devfs", "devfs_default", "pf"):
            state.pop(name, None)
        state["interfaces"] = [row for row in state.get("interfaces", []) if row.get("physical") and not row["home"]]
        for row in state["interfaces"]:
            row |= {"vnet": 0, "name": row["born"]}
        for mount in [m for m in reversed(state["mounts"]) if m["dir"] not in ("/", "/dev")]:
            process.host.unmount(state, mount)


def _kernel(process: World, variables: dict[str, str]) -> None:
    """What the loader sets before the kernel starts, and what rc sets of it then."""
    loader = loaderconf.values(_reader(process)(loaderconf.PATH) or "")
    with process.host.changing() as state:
        if value := loader.get("kern.racct.enable"):
            state["racct"] = value == "1"
        if rcconf.yes(variables.get("gateway_enable", "NO")):
            state["sysctl"]["net.inet.ip.forwarding"] = "1"
        if rcconf.yes(variables.get("kern_securelevel_enable", "NO")):
            state["sysctl"]["kern.securelevel"] = variables.get("kern_securelevel", "-1")


def _network(process: World, variables: dict[str, str]) -> None:
    """Cloned interfaces and ``ifconfig_IF``; an interface that rc.conf does not name keeps its addresses."""
    names = variables.get("cloned_interfaces", "").split()
    for name in names:
        process.run_quietly(["ifconfig", name, "create"])
    with process.host.reading() as state:
        names += [row["name"] for row in network.interfaces(state) if row["name"] not in names]
    for name in names:
        variable = rcconf.variable_of(name)
        lines = [variables.get(f"ifconfig_{variable}", ""), variables.get(f"ifconfig_{variable}_ipv6", "")]
        if any(lines) and name != "lo0":
            _bare(process, name)
        number = 0
        while alias := variables.get(f"ifconfig_{variable}_alias{number}"):
            lines.append(alias + " alias")
            number += 1
        for line in lines:
            words = [word for word in line.split() if word.upper() not in ("DHCP", "SYNCDHCP", "WPA", "NOAUTO")]
            if words and name != "lo0":
                process.run_quietly(["ifconfig", name, *words])


def _bare(process: World, name: str) -> None:
    with process.host.changing() as state:
        if row := network.find(state, name):
            row |= {"inet": [], "inet6": []}


def _limits(process: World, variables: dict[str, str]) -> None:
    rules = _reader(process)(variables.get("rctl_rules", "/etc/rctl.conf"))
    for line in (rules or "").splitlines():
        if rule := line.partition("#")[0].strip():
            process.run_quietly(["rctl", "-a", rule])
