"""Where the daemons of the base system listen, by their flags and files, and what a jail makes of "every address"."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from . import network, prison

State = dict[str, Any]
SSHD_CONFIG = "/etc/ssh/sshd_config"


class Wanted(NamedTuple):
    """A socket that a daemon wants to open: `protocol` tcp or udp, `ip` "*4" or "*6" for every address of a family."""

    protocol: str
    ip: str
    port: int


def wanted(name: str, flags: str, read: Callable[[str], str]) -> list[Wanted]:
    """Of a daemon of the base system; nothing for others. `read` gives a file's text, "" for none."""
    words = _words(flags)
    if name == "sshd":
        return _sshd(read(SSHD_CONFIG))
    if name == "syslogd":
        return _syslogd(words)
    if name == "ntpd":
        return [*_every("udp", 123), Wanted("udp", "own4", 123), Wanted("udp", "own6", 123)]
    if name == "sendmail":
        local = any("Addr=localhost" in word for word in words)
        return [Wanted("tcp", "127.0.0.1", 25)] if local else [Wanted("tcp", "*4", 25)]
    return []


def opened(state: State, jid: int, sockets: list[Wanted]) -> list[tuple[str, str]]:
    """What becomes of them, as sockstat(1) shows protocol and address. An address that is not there is left out.

    In a jail "every address" is its own ones; where it has one of that family, bind(2) takes that (in_pcb.c).
    """
    row = prison.by_jid(state, jid) if jid else None
    found = []
    for socket in sockets:
        version = 6 if ":" in socket.ip or (socket.ip.endswith("6") and not _is_address(socket.ip)) else 4
        addresses = _addresses(state, row, version)
        if socket.ip.startswith("own"):
            ips = addresses if row is None else []
        elif not socket.ip.startswith("*"):
            ips = [socket.ip] if socket.ip in addresses else []
        elif row is None or _has_every(row, version):
            ips = ["*"]
        else:
            ips = addresses if len(addresses) == 1 else ["*"] if addresses else []
        found += [(f"{socket.protocol}{version}", f"{ip}:{socket.port}") for ip in ips]
    return found


def config_problem(text: str) -> str:
    """What `sshd -t` says against a configuration, "" when it is good. Keywords and the values of addresses alone."""
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace("=", " ", 1).split()
        if not words:
            continue
        keyword = words[0].lower()
        if keyword not in _KEYWORDS:
            wrong.append(f"{SSHD_CONFIG}: line {number}: Bad configuration option: {words[0]}")
        elif len(words) == 1:
            return f'{SSHD_CONFIG} line {number}: no argument after keyword "{words[0]}"'
        elif keyword == "port" and not _port(words[1]):
            return f"{SSHD_CONFIG} line {number}: Badly formatted port number."
        elif keyword == "listenaddress" and _place(words[1]) is None:
            return f"{SSHD_CONFIG} line {number}: bad address: {words[1]}"
    if wrong:
        return "\n".join([*wrong, f"{SSHD_CONFIG}: terminating, {len(wrong)} bad configuration options"])
    return ""


_KEYWORDS = frozenset(
    "acceptenv addressfamily allowagentforwarding allowgroups allowstreamlocalforwarding allowtcpforwarding allowusers "
    "authenticationmethods authorizedkeyscommand authorizedkeyscommanduser authorizedkeysfile authorizedprincipalsfile "
    "banner casignaturealgorithms challengeresponseauthentication chrootdirectory ciphers clientalivecountmax "
    "clientaliveinterval compression denygroups denyusers disableforwarding exposeauthinfo fingerprinthash "
    "forcecommand gatewayports gssapiauthentication hostbasedauthentication hostcertificate hostkey hostkeyalgorithms "
    "ignorerhosts ignoreuserknownhosts include ipqos kbdinteractiveauthentication kerberosauthentication kexalgorithms "
    "listenaddress logingracetime loglevel macs match maxauthtries maxsessions maxstartups passwordauthentication "
    "permitemptypasswords permitlisten permitopen permitrootlogin permittty permittunnel permituserenvironment "
    "permituserrc pidfile port printlastlog printmotd pubkeyacceptedalgorithms pubkeyacceptedkeytypes "
    "pubkeyauthentication rekeylimit revokedkeys setenv streamlocalbindmask streamlocalbindunlink strictmodes "
    "subsystem syslogfacility tcpkeepalive trustedusercakeys usedns usepam versionaddendum x11displayoffset "
    "x11forwarding x11uselocalhost xauthlocation useblacklist useblocklist".split()
)


def _sshd(text: str) -> list[Wanted]:
    ports: list[int] = []
    places: list[tuple[str, int | None]] = []
    families = "any"
    for line in text.splitlines():
        words = line.partition("#")[0].replace("=", " ", 1).split()
        keyword = words[0].lower() if len(words) > 1 else ""
        if keyword == "match":
            break
        if keyword == "port" and (port := _port(words[1])):
            ports.append(port)
        elif keyword == "addressfamily":
            families = words[1].lower()
        elif keyword == "listenaddress" and (place := _place(words[1])) is not None:
            places.append(place)
    ports = ports or [22]
    if not places:
        every = [one for port in ports for one in _every("tcp", port)]
        return [one for one in every if families == "any" or one.ip[1] == families[-1]]
    return [Wanted("tcp", ip, one) for ip, port in places for one in ([port] if port else ports)]


def _syslogd(words: list[str]) -> list[Wanted]:
    bound: list[tuple[str, int | None]] = []
    letters = ""
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            continue
        for at, letter in enumerate(word[1:], 2):
            if letter not in "abfhlmNOpPS" or letter in "NS":
                letters += letter
                continue
            value = word[at:] or next(rest, "")
            if letter == "b" and (place := _place(value, "syslog")) is not None:
                bound.append(place)
            break
    if letters.count("s") > 1:
        return []
    if bound:
        return [Wanted("udp", ip, port or 514) for ip, port in bound]
    every = _every("udp", 514)
    return [one for one in every if not ({"4", "6"} & set(letters)) or one.ip[1] in letters]


def _every(protocol: str, port: int) -> list[Wanted]:
    return [Wanted(protocol, "*6", port), Wanted(protocol, "*4", port)]


def _words(flags: str) -> list[str]:
    try:
        return shlex.split(flags)
    except ValueError:
        return flags.split()


def _port(text: str) -> int:
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else 0


_EVERY = {"0.0.0.0": "*4", "::": "*6", "localhost": "127.0.0.1", "*": "*4"}  # noqa: S104


def _place(text: str, service: str = "") -> tuple[str, int | None] | None:
    """`192.0.2.2`, `192.0.2.2:22`, `[2001:db8::2]:22`, `localhost` as an address, "*4" and "*6" for every one."""
    if text.startswith("["):
        ip, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        ip, _, port = text.partition(":")
    else:
        ip, port = text, ""
    if port and port != service and not _port(port):
        return None
    ip = _EVERY.get(ip, ip)
    if not ip.startswith("*") and not _is_address(ip):
        return None
    return ip, _port(port) or None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _has_every(row: dict[str, Any], version: int) -> bool:
    return bool(row["set"].get("vnet") == "new" or row["set"].get(f"ip{version}") == "inherit")


def _addresses(state: State, row: dict[str, Any] | None, version: int) -> list[str]:
    """What can be bound to: of a jail its own, else all of the stack's."""
    vnet = 0
    if row is not None and row["set"].get("vnet") == "new":
        vnet = row["jid"]
    elif row is not None and not _has_every(row, version):
        return [str(address).partition("/")[0] for address in row["set"].get(f"ip{version}.addr", [])]
    family = "inet" if version == 4 else "inet6"
    found = [text.partition("/")[0] for one in network.interfaces(state, vnet) for text in one[family]]
    return [ip for ip in found if not ip.startswith("fe80:")]
