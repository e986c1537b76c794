"""What an administrator pastes on a host, as root, so that the panel may act there: authorized_keys(5), sshd_config(5),
pw(8), doas.conf(5), sudoers(5).

The lines are for either login shell that root has on FreeBSD: csh until 13, sh from 14 on. Nothing in them means
something else to one of the two: no `!`, no variables, no newline in quotes. Pasted twice, they do no harm.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from jails.freebsd import names, sh

DOAS_CONF = "/usr/local/etc/doas.conf"
SUDOERS = "/usr/local/etc/sudoers.d/cellblock"
SSHD_CONFIG = "/etc/ssh/sshd_config"
USER = "cellblock"
"""The user that is proposed where root itself shall not sign in."""


@dataclass(frozen=True)
class Block:
    """Lines to paste, and in words what they do and what to see."""

    words: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def blocks(username: str, public_key: str, *, become: Sequence[str] = (), source: str = "") -> tuple[Block, ...]:
    """How `username` is let in with that key, and becomes root by the words of `become` where it is not root itself.

    public_key: as keys.public_key has it. source: an address or network, the only one the key is good from.
    ValueError for a name that pw(8) would refuse, a key that is none, a source that is none.
    """
    line = authorized_key(public_key, source)
    if username == "root":
        return (_key("/root", line, "The worker's key may sign in as root, and do nothing but run commands."), _SSHD)
    names.require("username", username, names.user_name_error)
    make = f"pw useradd {username} -c Cellblock -m -s /bin/sh -h -"
    words = (
        f"A user without a password, whom only the worker's key lets in. Where {username} is there already, pw says so "
        "and the other lines do their work all the same."
    )
    key = _key(f"~{username}", line, words)
    owner = f"chown -R {username} ~{username}/.ssh"
    return (Block(words, (make, *key.lines, owner)), becoming_root(username, become))


def becoming_root(username: str, become: Sequence[str]) -> Block:
    """How a user becomes root without a password, and the line that proves it: it prints 0."""
    names.require("username", username, names.user_name_error)
    if not become:
        raise ValueError("become: expected the words that make the user root, got none")
    tool = become[0]
    known = {"doas": _doas, "sudo": _sudo}.get(tool)
    check = f"su - {username} -c {sh.quote(sh.words((*become, 'id', '-u')))}"
    if known is None:
        return Block(
            f"{username} must become root by `{sh.words(become)}` without a password; how is not for the panel to say. "
            "This line must print 0.",
            (check,),
        )
    lines = known(username)
    return Block(f"{username} becomes root by {tool} without a password. The last line must print 0.", (*lines, check))


def authorized_key(public_key: str, source: str = "") -> str:
    """The line of authorized_keys: `restrict` leaves the key no terminal, no forwarding and no agent."""
    found = re.fullmatch(
        r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})(?: ([A-Za-z0-9@._-]+))?",
        public_key.strip(" \n"),
    )
    if found is None:
        raise ValueError("public_key: expected type, base64 and a plain comment, as a .pub file has them")
    options = "restrict" if not source else f'restrict,from="{source_address(source)}"'
    return " ".join([options, *filter(None, found.groups())])


def source_address(text: str) -> str:
    """An address, or a network, as `from=` of authorized_keys takes it. ValueError."""
    problem = source_error(text)
    if problem:
        raise ValueError(f"source: {problem}")
    return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))


def source_error(value: str) -> str | None:
    """What is wrong with it, or None."""
    if not re.fullmatch(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?", value):
        return "is neither an address nor a network; expected for example 192.0.2.10 or 192.0.2.0/24."
    try:
        ipaddress.ip_network(value) if "/" in value else ipaddress.ip_address(value)
    except ValueError as error:
        return f"is neither an address nor a network: {error}."
    return None


def _key(home: str, line: str, words: str) -> Block:
    folder, file = f"{home}/.ssh", f"{home}/.ssh/authorized_keys"
    return Block(
        words,
        (
            f"mkdir -p -m 700 {folder}",
            # Begins a line of its own, also where the file's last one has no end.
            f"printf '\\n%s\\n' '{line}' >> {file}",
            f"chmod 600 {file}",
        ),
    )


_SSHD = Block(
    "FreeBSD's sshd does not let root in unless its configuration says so. This changes nothing where root may sign in "
    f"with a key already; the file as it was stays in {SSHD_CONFIG}.before-cellblock.",
    (
        "sshd -T -C user=root,host=localhost,addr=127.0.0.1 \\",
        "  | grep -Eqx 'permitrootlogin (no|forced-commands-only)' \\",
        f"  && cp -p {SSHD_CONFIG} {SSHD_CONFIG}.before-cellblock \\",
        # The first value counts, and before any Match block it is for everybody.
        f"  && printf 'PermitRootLogin prohibit-password\\n' | cat - {SSHD_CONFIG}.before-cellblock > {SSHD_CONFIG}",
        "sshd -t && service sshd reload",
    ),
)


def _doas(username: str) -> tuple[str, ...]:
    # The last rule that matches counts.
    return (
        "pkg install -y doas",
        f"printf '\\n%s\\n' 'permit nopass {username} as root' >> {DOAS_CONF}",
        f"chmod go-w {DOAS_CONF}",
        f"doas -C {DOAS_CONF}",
    )


def _sudo(username: str) -> tuple[str, ...]:
    return (
        "pkg install -y sudo",
        f"printf '%s\\n' '{username} ALL=(root) NOPASSWD: ALL' > {SUDOERS}",
        f"chmod 440 {SUDOERS}",
        "visudo -c",
    )
