"""rc.conf(5) of the simulated host: what the files say, and sysrc(8)'s way of editing them as text.

sysrc takes no lock: it reads, thinks and writes, and so does this.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Read = Callable[[str], str | None]

FILES = ("/etc/rc.conf", "/etc/rc.conf.local")

# Out of /etc/defaults/rc.conf: what is asked for in practice.
DEFAULTS = {
    "accounting_enable": "NO",
    "auditd_enable": "NO",
    "blacklistd_enable": "NO",
    "bsnmpd_enable": "NO",
    "cleanvar_enable": "YES",
    "clear_tmp_enable": "NO",
    "cloned_interfaces": "",
    "cron_enable": "YES",
    "cron_flags": "",
    "defaultrouter": "NO",
    "devfs_load_rulesets": "YES",
    "devfs_system_ruleset": "",
    "dumpdev": "NO",
    "firewall_enable": "NO",
    "ftpd_enable": "NO",
    "gateway_enable": "NO",
    "hostname": "",
    "ifconfig_lo0": "inet 127.0.0.1/8",
    "inetd_enable": "NO",
    "ip6addrctl_enable": "YES",
    "ipv6_activate_all_interfaces": "NO",
    "ipv6_gateway_enable": "NO",
    "jail_conf": "/etc/jail.conf",
    "jail_confwarn": "YES",
    "jail_enable": "NO",
    "jail_flags": "",
    "jail_list": "",
    "jail_parallel_start": "NO",
    "jail_reverse_stop": "NO",
    "kld_list": "",
    "local_unbound_enable": "NO",
    "moused_enable": "NO",
    "newsyslog_enable": "YES",
    "nfs_client_enable": "NO",
    "nfs_server_enable": "NO",
    "ntpd_enable": "NO",
    "ntpdate_enable": "NO",
    "pf_enable": "NO",
    "pf_flags": "",
    "pf_rules": "/etc/pf.conf",
    "pflog_enable": "NO",
    "pflog_logfile": "/var/log/pflog",
    "powerd_enable": "NO",
    "rctl_enable": "YES",
    "rctl_rules": "/etc/rctl.conf",
    "root_rw_mount": "YES",
    "rpcbind_enable": "NO",
    "sendmail_enable": "NO",
    "sendmail_msp_queue_enable": "YES",
    "sendmail_outbound_enable": "YES",
    "sendmail_submit_enable": "YES",
    "sshd_enable": "NO",
    "sshd_flags": "",
    "static_routes": "",
    "syslogd_enable": "YES",
    "syslogd_flags": "-s",
    "update_motd": "YES",
    "virecover_enable": "YES",
    "zfs_enable": "NO",
    "zfsd_enable": "NO",
}

_ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


def variable_of(name: str) -> str:
    """A jail's name inside the name of an rc.conf variable: what is no letter or digit becomes ``_``."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def value_of(text: str, known: dict[str, str]) -> tuple[str, bool]:
    """A right-hand side as sh takes it, and whether its quotes are closed on this line."""
    result, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        if quote == "'":
            quote = "" if character == "'" else quote
            result += "" if character == "'" else character
        elif character == "\\" and position + 1 < len(text):
            position += 1
            result += text[position]
        elif character == '"':
            quote = "" if quote else '"'
        elif character == "'" and not quote:
            quote = "'"
        elif character == "$":
            match = re.compile(r"\$(?:\{(\w+)(?:[^}]*)\}|(\w+))").match(text, position)
            if match:
                result += known.get(match[1] or match[2], "")
                position = match.end() - 1
            else:
                result += character
        elif not quote and character in " \t;#&|":
            break
        else:
            result += character
        position += 1
    return result, not quote


def parse(text: str, known: dict[str, str]) -> None:
    """Take a file's assignments into ``known``, in order."""
    lines = iter(text.split("\n"))
    for line in lines:
        match = _ASSIGNMENT.match(line)
        if match is None:
            continue
        body = match[2]
        value, closed = value_of(body, known)
        while not closed:
            more = next(lines, None)
            if more is None:
                break
            body += "\n" + more
            value, closed = value_of(body, known)
        known[match[1]] = value


def load(read: Read, *, service: str = "") -> dict[str, str]:
    """All variables as load_rc_config(8) has them; ``read(path)`` gives a file's text or None."""
    known = dict(DEFAULTS)
    if (text := read("/etc/defaults/rc.conf")) is not None:
        parse(text, known)
    for filename in (known.get("rc_conf_files") or " ".join(FILES)).split():
        if (text := read(filename)) is not None:
            parse(text, known)
    if service:
        for folder in ("/etc/rc.conf.d", "/usr/local/etc/rc.conf.d"):
            if (text := read(f"{folder}/{service}")) is not None:
                parse(text, known)
    return known


def assigned_in(text: str, name: str) -> bool:
    return any((match := _ASSIGNMENT.match(line)) and match[1] == name for line in text.split("\n"))


def replaced(text: str, name: str, value: str) -> str:
    """The file with its last assignment to ``name`` changed, or one added at the end.

    As f_sysrc_set has it: the value goes between the quotes that are there (or double ones) as it is, with nothing in
    it escaped, and what follows the old value stays.
    """
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if re.match(rf"\s*{re.escape(name)}=", line)]
    if not places:
        # The shell's >> does not look whether the last line is ended.
        return f'{text}{name}="{value}"\n'
    head, _, body = lines[places[-1]].partition("=")
    if body[:1] in ("`", "$", "\\"):
        return f'{text}{name}="{value}"\n'
    quote = body[:1] if body[:1] in ("'", '"') else '"'
    rest = re.sub(r"^'[^']*'?" if body[:1] == "'" else r'^"[^"]*"?' if body[:1] == '"' else r"^[^\s;]*", "", body)
    lines[places[-1]] = f"{head}={quote}{value}{quote}{rest}"
    return "\n".join(lines)


def is_well_formed(text: str) -> bool:
    """What `sh -n` says of a file of assignments: whether its quotes are closed."""
    from .syntax import SyntaxFault, parse

    try:
        parse(text)
    except SyntaxFault:
        return False
    return True


def removed(text: str, name: str) -> str:
    lines = text.split("\n")
    return "\n".join(line for line in lines if not ((m := _ASSIGNMENT.match(line)) and m[1] == name))


def yes(value: str) -> bool:
    """checkyesno of rc.subr(8)."""
    return value.lower() in ("yes", "true", "on", "1")


def added(old: str, words: str) -> str:
    """``sysrc name+=words``: each word once, separated as ``words`` starts (``+=,x``) or by blanks."""
    separator = _separator(words)
    have = _split(old, separator)
    new = old
    for word in _split(words, separator):
        if word not in have:
            new += separator + word
    return new.removeprefix(separator)


def subtracted(old: str, words: str) -> str:
    separator = _separator(words)
    unwanted = _split(words, separator)
    return separator.join(word for word in _split(old, separator) if word not in unwanted)


def _separator(words: str) -> str:
    return words[0] if words and not re.match(r"[A-Za-z0-9./\s]", words) else " "


def _split(text: str, separator: str) -> list[str]:
    return [word for word in (text.split() if separator == " " else text.split(separator)) if word]
