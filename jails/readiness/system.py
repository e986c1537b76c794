"""The release, its updates, the clock, secure levels and what the kernel must have for jails."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from jails.freebsd import loaderconf, uname
from jails.readiness.finding import Finding, Look, Status, listed

SOON = timedelta(days=60)
SKEW_FINE, SKEW_BAD = 5.0, 60.0
"""Seconds. The first is about what a slow connection adds."""


def release(look: Look) -> Iterable[Finding]:
    key, title, man = "release", "Release supported", "freebsd-update(8)"
    text = look.known.release
    if not text:
        look.known.require("identity", "version")
    ends = uname.eol_of(text)
    advice = "Upgrade with freebsd-update(8), or to the next branch, at a time of your choosing; jails stop meanwhile."
    if ends is None:
        yield Finding(key, Status.UNKNOWN, title, f"The end of support of {text or 'this release'} is not known.", man)
    elif (today := _day(look)) > ends:
        reason = f"{text} has had no security fixes since {ends:%Y-%m-%d}."
        yield Finding(key, Status.FAIL, title, reason, man, advice=advice)
    elif today + SOON > ends:
        yield Finding(key, Status.WARN, title, f"Support of {text} ends on {ends:%Y-%m-%d}.", man, advice=advice)
    else:
        yield Finding(key, Status.PASS, title, f"{text} is supported until {ends:%Y-%m-%d}.", man)


def _day(look: Look) -> date:
    return datetime.fromtimestamp(look.now, UTC).date()


def vnet(look: Look) -> Iterable[Finding]:
    key, title, man = "vnet", "Jails with a network stack of their own", "vnet(9)"
    look.known.require("identity")
    if look.known.vnet:
        yield Finding(key, Status.PASS, title, "The kernel has VIMAGE (kern.features.vimage is 1).", man)
        return
    reason = f"The kernel of {look.known.kernel} has no VIMAGE."
    advice = "From 12.0 on the GENERIC kernel has it: upgrade, or add “options VIMAGE” to the kernel's configuration."
    yield Finding(key, Status.WARN, title, reason, man, advice=advice)


def updates(look: Look) -> Iterable[Finding]:
    key, title, man = "updates", "No update waits to be installed", "freebsd-update(8)"
    look.seen.require("updates")
    if look.seen.updates:
        reason = (
            f"freebsd-update has fetched what is not installed ({len(look.seen.updates)} in /var/db/freebsd-update)."
        )
        advice = "Run freebsd-update install on the host, then restart it: the kernel changes, jails stop."
        yield Finding(key, Status.WARN, title, reason, man, advice=advice)
    else:
        reason = "Nothing that was fetched waits. Whether there is more, freebsd-update fetch finds out."
        yield Finding(key, Status.PASS, title, reason, man)


def clock(look: Look) -> Iterable[Finding]:
    key, title, man = "clock", "Clock", "ntpd(8)"
    look.seen.require("time")
    skew = look.seen.skew
    if skew is None:
        yield Finding(key, Status.UNKNOWN, title, "The host's time was not read.", man)
        return
    words = f"The host's clock is {_seconds(skew)} {'ahead of' if skew > 0 else 'behind'} the panel's."
    if abs(skew) <= SKEW_FINE:
        yield Finding(key, Status.PASS, title, f"The host's clock agrees with the panel's to {SKEW_FINE:.0f} s.", man)
        return
    status = Status.WARN if abs(skew) <= SKEW_BAD else Status.FAIL
    if look.rc.is_yes("ntpd_enable"):
        yield Finding(key, status, title, words, man, fix="clock")
    else:
        yield Finding(key, status, title, words, man, advice="Let the host keep its time: see “Time service”.")


def _seconds(skew: float) -> str:
    seconds = abs(skew)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def securelevel(look: Look) -> Iterable[Finding]:
    key, title, man = "securelevel", "Secure level of the host", "security(7)"
    value = look.sysctl("kern.securelevel")
    if not value.lstrip("-").isdigit():
        yield Finding(key, Status.UNKNOWN, title, "kern.securelevel was not read.", man)
        return
    level = int(value)
    kept = look.rc.is_yes("kern_securelevel_enable")
    if level <= 0 and not kept:
        reason = f"kern.securelevel is {level}: the host may be changed; each jail has a level of its own."
        yield Finding(key, Status.PASS, title, reason, man)
        return
    loses = ["immutable files cannot be removed, so jails on UFS cannot be destroyed", "no kernel module loads"]
    if level >= 2:
        loses.append("the clock cannot be set back")
    if level >= 3:
        loses.append("pf's rules cannot be changed")
    reason = f"kern.securelevel is {level}" + (
        f": {'; '.join(loses)}." if level > 0 else "; rc.conf raises it at boot."
    )
    if kept:
        yield Finding(key, Status.WARN, title, reason, man, fix="securelevel")
    else:
        advice = (
            "It cannot be lowered while the host runs; after a restart it is what rc.conf says, which raises nothing."
        )
        yield Finding(key, Status.WARN, title, reason, man, advice=advice)


def racct(look: Look) -> Iterable[Finding]:
    key, title, man = "racct", "Limits on memory and processor", "rctl(8)"
    look.known.require("identity")
    if look.known.racct:
        yield Finding(key, Status.PASS, title, "kern.racct.enable is 1: limits of jails are enforced.", man)
        return
    value, path = _racct_of_the_loader(look)
    if value == "1":
        reason = f"kern.racct.enable is 0 still: {path} sets it to 1 at the next start of the host."
        yield Finding(key, Status.WARN, title, reason, man, advice="Restart the host at a time of your choosing.")
        return
    reason = "kern.racct.enable is 0: limits on memory, processor and processes are accepted and do nothing."
    if path not in ("", loaderconf.PATH):
        advice = f"{path} sets kern.racct.enable to {value}: take that line out, then check again."
        yield Finding(key, Status.FAIL, title, reason, man, advice=advice)
        return
    yield Finding(key, Status.FAIL, title, reason, man, fix="racct")


def _racct_of_the_loader(look: Look) -> tuple[str, str]:
    """What the loader will set, and the file that says so last; "" and "" where none does."""
    texts = {loaderconf.PATH: look.known.file(loaderconf.PATH) or ""}
    if look.survey is not None and "files" not in look.survey.missing:
        texts |= {
            path: text for path, text in sorted(look.survey.files.items()) if path.startswith("/boot/loader.conf.")
        }
    value = file = ""
    for path, text in texts.items():
        if (found := loaderconf.values(text).get("kern.racct.enable")) is not None:
            value, file = found, path
    return value, file


def forwarding(look: Look) -> Iterable[Finding]:
    key, title, man = "forwarding", "Packets are forwarded", "inet(4)"
    if not look.private:
        return
    who = f"{listed(look.private)} needs NAT" if len(look.private) == 1 else f"{listed(look.private)} need NAT"
    now, kept = look.sysctl("net.inet.ip.forwarding"), look.rc.is_yes("gateway_enable")
    if now == "1" and kept:
        yield Finding(key, Status.PASS, title, f"{who}; net.inet.ip.forwarding is 1, also after a restart.", man)
        return
    if not now:
        yield Finding(key, Status.UNKNOWN, title, f"{who}; net.inet.ip.forwarding was not read.", man)
        return
    reason = f"{who}; net.inet.ip.forwarding is {now}, gateway_enable is {look.rc.get('gateway_enable') or 'not set'}."
    yield Finding(key, Status.WARN if now == "1" else Status.FAIL, title, reason, man, fix="forwarding")


def packet_filter(look: Look) -> Iterable[Finding]:
    key, title, man = "pf", "Packet filter for NAT", "pf.conf(5)"
    if not look.private:
        return
    look.seen.require("pf")
    names, pf = listed(look.private), look.seen.pf
    advice = (
        "Write /etc/pf.conf with a nat rule for it, see that pfctl -nf /etc/pf.conf takes it, set pf_enable=YES and "
        "run service pf start at the host's own console: a wrong rule cuts off the panel."
    )
    if pf is None or not pf.enabled:
        state = "not loaded" if pf is None else "loaded, not enabled"
        yield Finding(
            key, Status.FAIL, title, f"{names}: jails need NAT to reach out, and pf is {state}.", man, advice=advice
        )
        return
    if not look.rc.is_yes("pf_enable"):
        reason = f"{names}: pf runs, and will not after a restart: pf_enable is not YES."
        yield Finding(key, Status.WARN, title, reason, man, fix="pf_enable")
        return
    called = [anchor for anchor in pf.anchors if anchor.partition(" ")[2].startswith("cellblock")]
    if called:
        yield Finding(key, Status.PASS, title, f"pf is enabled and calls {listed(called)}.", man)
        return
    yield Finding(key, Status.PASS, title, "pf is enabled; whether its rules suit, only whoever wrote them knows.", man)


CHECKS = (
    ("release", "Release supported", "freebsd-update(8)", release),
    ("vnet", "Jails with a network stack of their own", "vnet(9)", vnet),
    ("updates", "No update waits to be installed", "freebsd-update(8)", updates),
    ("clock", "Clock", "ntpd(8)", clock),
    ("securelevel", "Secure level of the host", "security(7)", securelevel),
    ("racct", "Limits on memory and processor", "rctl(8)", racct),
    ("forwarding", "Packets are forwarded", "inet(4)", forwarding),
    ("pf", "Packet filter for NAT", "pf.conf(5)", packet_filter),
)
