"""sockstat(1): who listens where.

Its text has had the same columns from 12.1 to 15, only their widths differ. It names no jail: the jail is that of the
process (`ps.JAILS`). Sockets of a jail with a network stack of its own (vnet) are not in the host's list.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jails.freebsd.command import Argv

LISTENING: Argv = ("sockstat", "-4", "-6", "-l")

_LINE = re.compile(
    # The name of a command may hold blanks, and a jail's owner chooses it: what stands last on the line is sockstat's.
    r"(?P<user>\S+)\s+(?P<command>.*)\s+(?P<pid>[0-9]+|\?)\s+(?:[0-9]+|\?)"
    r"\s+(?P<proto>(?:tcp|udp|udplite|sctp|divert|div)(?:4|6|46)?)\s+(?P<ip>\S+):(?P<port>[0-9]+|\*)\s+\S+:\S+\s*"
)


@dataclass(frozen=True)
class Socket:
    """`proto` is tcp4, tcp6, udp4, udp6, sctp4…; `ip` "*" for any address, IPv6 in its shortest form, its zone kept.

    `pid` None: no process holds it any more, or the kernel itself does. `port` None: not bound to one.
    `jail`: the name of the jail its process is in, "" for the host.
    """

    user: str
    command: str
    pid: int | None
    proto: str
    ip: str
    port: int | None
    jail: str = ""

    @property
    def version(self) -> int:
        """4 or 6, the family of its address."""
        return 6 if self.proto.endswith("6") else 4

    @property
    def protocol(self) -> str:
        """tcp, udp, sctp…"""
        return self.proto.rstrip("46")


def parse(output: bytes) -> tuple[Socket, ...]:
    """What LISTENING printed; ValueError where its heading is missing, for then it did not run.

    A socket for both families (`udp46`) is two. A line that cannot be read is left out: a process may be called
    anything, a line break included, and nobody may hide the others by that.
    """
    heading, _, rest = output.decode("utf-8", "replace").partition("\n")
    if heading.split()[:2] != ["USER", "COMMAND"]:
        raise ValueError(f"sockstat: expected its heading, got {heading[:60]!r}")
    found: dict[Socket, None] = {}
    for match in filter(None, (_LINE.fullmatch(line) for line in rest.split("\n"))):
        proto = match["proto"]
        name = proto.rstrip("46")
        ip = match["ip"]
        for version in proto[len(name) :] or ("6" if ":" in ip else "4"):
            socket = Socket(
                user=match["user"],
                command=match["command"].strip(),
                pid=int(match["pid"]) if match["pid"] != "?" else None,
                proto=f"{name}{version}",
                ip=_plain(ip),
                port=int(match["port"]) if match["port"] != "*" else None,
            )
            # One that is held by several descriptors of a process is listed for each.
            found.setdefault(socket)
    return tuple(found)


def in_jails(sockets: tuple[Socket, ...], jids: Mapping[int, int], names: Mapping[int, str]) -> tuple[Socket, ...]:
    """The sockets with the names of their jails. `jids`: pid → jid; `names`: jid → name.

    A process that came after the jids were listed counts as the host's; of a jail without a name the jid is its name.
    """
    return tuple(replace(socket, jail=_jail(jids.get(socket.pid or 0, 0), names)) for socket in sockets)


def _jail(jid: int, names: Mapping[int, str]) -> str:
    return names.get(jid, str(jid)) if jid else ""


def _plain(ip: str) -> str:
    address, percent, zone = ip.partition("%")
    try:
        return str(ipaddress.ip_address(address)) + percent + zone
    except ValueError:
        return ip
