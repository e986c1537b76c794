"""What the host itself listens with: it should be little, and nowhere that a jail could want."""

from __future__ import annotations

from collections.abc import Iterable

from jails.freebsd import sshd_config
from jails.freebsd.sockstat import Socket
from jails.hosts.facts import Missing
from jails.readiness.finding import Finding, Look, Status, listed, places

OWN_CHECK = frozenset({"sshd", "sshd-session", "sshd-auth", "syslogd", "ntpd", "chronyd"})
"""What a host needs, and what has checks of its own."""
CLIENTS = frozenset({"dhclient", "rtsold"})
"""They have sockets while they ask for an address."""
BASE = {
    "sendmail": "sendmail",
    "inetd": "inetd",
    "rpcbind": "rpcbind",
    "ftpd": "ftpd",
    "lpd": "lpd",
    "bsnmpd": "bsnmpd",
}
"""Commands that may go, and their services in rc.conf(5). Others may be what the host is for.

telnetd is not among them: it has no script in rc.d, only inetd(8) runs it.
"""
BY_INETD = frozenset({"ftpd", "telnetd"})
"""What inetd.conf(5) has lines for, which service(8) does not stop where rc.conf(5) does not start it."""


def others(look: Look) -> Iterable[Finding]:
    found: dict[str, list[Socket]] = {}
    for socket in look.host_sockets:
        if socket.command not in OWN_CHECK | CLIENTS:
            found.setdefault(socket.command, []).append(socket)
    for command, sockets in sorted(found.items()):
        yield _other(look, command, sockets)
    if not found:
        reason = "Nothing on the host listens but what has checks of its own."
        yield Finding("services", Status.PASS, "No services that the host does not need", reason, "sockstat(1)")


def _other(look: Look, command: str, sockets: list[Socket]) -> Finding:
    exposed = look.exposed(sockets)
    reason = f"{command} listens at {places(sockets)}."
    if exposed:
        reason += " No jail can have that port on its own address while it does."
    status = Status.FAIL if exposed else Status.WARN
    service = BASE.get(command, "")
    key, title = f"service:{command}", f"{command} runs on the host"
    by_inetd = command in BY_INETD and not look.rc.is_yes(f"{command}_enable")
    if service and not by_inetd:
        return Finding(key, status, title, reason, "rc.conf(5)", "service_off", {"service": service})
    if by_inetd:
        advice = f"inetd(8) runs {command}: take its line out of /etc/inetd.conf by hand, or set inetd_enable=NO."
        return Finding(key, status, title, reason, "inetd.conf(5)", advice=advice)
    advice = "Move it into a jail"
    advice += ", or bind it to the host's own address." if exposed else "; on a host it is one more way in."
    return Finding(key, status, title, reason, "rc.conf(5)", advice=advice)


def syslogd(look: Look) -> Iterable[Finding]:
    key, title, man = "syslogd", "syslogd keeps to itself", "syslogd(8)"
    sockets = [one for one in look.host_sockets if one.command == "syslogd"]
    exposed = look.exposed(sockets)
    flags = look.rc.get("syslogd_flags", "-s")
    if exposed:
        reason = f"syslogd listens at {places(exposed)}: no jail can receive logs there."
        yield Finding(key, Status.FAIL, title, f"{reason} syslogd_flags is “{flags}”.", man, fix="syslogd")
    elif look.rc.is_yes("syslogd_enable", "YES") and not _quiet(flags):
        reason = f"syslogd listens nowhere it should not, but syslogd_flags is “{flags}”: a restart changes that."
        yield Finding(key, Status.WARN, title, reason, man, fix="syslogd")
    elif sockets:
        yield Finding(key, Status.PASS, title, f"syslogd listens at {places(sockets)} only.", man)
    else:
        yield Finding(key, Status.PASS, title, f"syslogd listens nowhere (syslogd_flags is “{flags}”).", man)


def _quiet(flags: str) -> bool:
    """Whether syslogd opens no socket with these flags, or only on addresses that are named."""
    words = flags.split()
    return "-ss" in words or words.count("-s") > 1 or any(word.startswith("-b") for word in words)


def sshd(look: Look) -> Iterable[Finding]:
    key, title, man = "sshd", "sshd on the host's own address", "sshd_config(5)"
    text = look.known.file(sshd_config.PATH) or ""
    sockets = [one for one in look.host_sockets if one.command == "sshd" and _is_sshds(one, text, look)]
    look.seen.require("sshd")
    if look.seen.sshd_test:
        reason = f"sshd -t says: {look.seen.sshd_test.splitlines()[0]}. The next start of sshd fails."
        yield Finding(
            key, Status.FAIL, title, reason, man, advice="Put /etc/ssh/sshd_config right by hand, then check again."
        )
        return
    exposed = look.exposed(sockets)
    named = sshd_config.listen_addresses(text)
    if exposed:
        reason = f"sshd listens at {places(exposed)}: no jail can have an sshd of its own there."
        yield Finding(key, Status.FAIL, title, reason, man, fix="sshd")
    elif not sockets:
        yield Finding(key, Status.PASS, title, "No sshd listens on the host.", man)
    elif not named and not sshd_config.includes(text) and look.rc.is_yes("sshd_enable"):
        reason = (
            f"sshd listens at {places(sockets)}, but its file names no ListenAddress: a restart takes every address."
        )
        yield Finding(key, Status.WARN, title, reason, man, fix="sshd")
    else:
        yield Finding(key, Status.PASS, title, f"sshd listens at {places(sockets)} only.", man)


def _is_sshds(socket: Socket, text: str, look: Look) -> bool:
    """Not one that a session forwards (ssh -R): that listens as sshd too, at a port of its own."""
    if sshd_config.includes(text) or "-" in look.rc.get("sshd_flags", ""):
        return True
    named = {sshd_config.plain_address(value)[1] for value in sshd_config.listen_addresses(text)}
    return socket.port in named | {*sshd_config.ports(text)}


def time_service(look: Look) -> Iterable[Finding]:
    key, title, man = "ntpd", "Time service", "ntpd(8)"
    look.seen.require("sockets")
    in_jails = [one for one in look.seen.sockets if one.port == 123 and one.protocol == "udp" and one.jail]
    if in_jails:
        reason = (
            f"The jail {listed(sorted({one.jail for one in in_jails}))} has UDP 123; the host's clock is the host's."
        )
        advice = "Stop the time service in that jail: jails share the host's clock and cannot set it."
        yield Finding(key, Status.FAIL, title, reason, man, advice=advice)
        return
    holders = {one.command for one in look.host_sockets if one.port == 123 and one.protocol == "udp"}
    enabled = [name for name in ("ntpd", "openntpd", "chronyd") if look.rc.is_yes(f"{name}_enable")]
    if holders and enabled:
        yield Finding(key, Status.PASS, title, f"{listed(sorted(holders))} has UDP 123 and starts with the host.", man)
    elif holders:
        reason = f"{listed(sorted(holders))} runs, but nothing in rc.conf starts it with the host."
        yield Finding(key, Status.WARN, title, reason, man, fix="ntpd" if "ntpd" in holders else "")
    elif "openntpd" in enabled or "chronyd" in enabled:
        yield _without_a_port(look, key, title, enabled[0])
    else:
        reason = (
            "Nothing keeps the clock right: ntpd_enable is not YES."
            if not enabled
            else "ntpd is enabled and does not run."
        )
        advice = "OpenNTPd (net/openntpd), which needs no port, does as well."
        yield Finding(key, Status.FAIL, title, reason, man, fix="ntpd", advice=advice)


def _without_a_port(look: Look, key: str, title: str, name: str) -> Finding:
    """A client alone shows by its effect: the time is right."""
    man = "ntpd(8)"
    try:
        look.seen.require("time")
        skew = look.seen.skew
    except Missing:
        skew = None
    if skew is not None and abs(skew) <= 5:
        return Finding(key, Status.PASS, title, f"{name}_enable is YES; it needs no port, and the time is right.", man)
    return Finding(
        key, Status.UNKNOWN, title, f"{name}_enable is YES; it needs no port, so whether it runs does not show.", man
    )


CHECKS = (
    ("services", "No services that the host does not need", "sockstat(1)", others),
    ("syslogd", "syslogd keeps to itself", "syslogd(8)", syslogd),
    ("sshd", "sshd on the host's own address", "sshd_config(5)", sshd),
    ("ntpd", "Time service", "ntpd(8)", time_service),
)
