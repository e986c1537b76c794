"""What may be named how, and how long: each check returns what is wrong with a value, or None.

All names are ASCII: `а` (Cyrillic) and `a` must never be two jails. Limits are those of FreeBSD and OpenZFS where a
source is given; where none is, the panel is stricter so that a name is good for rc(8), sh(1) and file names as well.
"""

import base64
import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable

Check = Callable[[str], str | None]

JAIL_NAME_MAX = 63  # one label of a hostname; MAXHOSTNAMELEN bounds the full name of a child jail
HOSTNAME_MAX = 255  # MAXHOSTNAMELEN is 256 with the NUL
DATASET_MAX = 255  # ZFS_MAX_DATASET_NAME_LEN is 256 with the NUL; a snapshot's name counts
INTERFACE_MAX = 15  # IFNAMSIZ is 16 with the NUL
PATH_MAX = 1023  # PATH_MAX is 1024 with the NUL; so is MNAMELEN for a mount point
TENANT_MAX = 30
RESERVED_TENANTS = frozenset({"host", "releases", "templates"})
JAILS_ROOT = "/jail"

ARCHES = ("amd64", "arm64", "armv7", "i386", "powerpc64", "powerpc64le", "riscv64")
_MACHINE_ARCHES = {"aarch64": "arm64"}


def release_arch(machine_arch: str) -> str:
    """What a mirror calls the architecture that hw.machine_arch of arch(7) names."""
    return _MACHINE_ARCHES.get(machine_arch, machine_arch)


def require(argument: str, value: str, check: Check) -> str:
    """The value where `check` finds nothing wrong; else ValueError, which names the argument."""
    if not isinstance(value, str):
        raise ValueError(f"{argument}: expected text, got {type(value).__name__}")
    problem = check(value)
    if problem:
        raise ValueError(f"{argument}: {problem}")
    return value


def jail_name_error(value: str) -> str | None:
    """A name for a new jail of the panel: jail(8), with what rc.d/jail can start."""
    return (
        _text_error(value, JAIL_NAME_MAX)
        or _charset_error(value, "A-Za-z0-9_-", "letters, digits, “_” and “-”")
        or _first_error(value, "A-Za-z0-9", "a letter or digit")
        or ("must not be digits only: jail(8) takes a number for a jid." if value.isdigit() else None)
    )


def jail_reference_error(value: str) -> str | None:
    """The name of a jail that is there already, made by whomever: what must never reach jail(8) as something else.

    `*` means all jails, a number a jid (which changes at every start), `name=value` a parameter.
    """
    return (
        _text_error(value, HOSTNAME_MAX)
        or _first_error(value, "!-,.-~", "something else than “-” and a space")
        or ("must not contain “*”: jail(8) takes it for several jails." if "*" in value else None)
        or ("must not contain “=”: jail(8) takes it for a parameter." if "=" in value else None)
        or ("must not be digits only: jail(8) takes a number for a jid." if value.isdigit() else None)
    )


def rc_variable_part(name: str) -> str:
    """The jail's name inside a variable of rc.conf (libexec/rc/rc.d/jail: all but letters and digits is `_`)."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def jail_name_clash(value: str, others: Iterable[str]) -> str | None:
    """The name among `others` that is the same for rc.conf, `-` and `_` being one there; None if there is none."""
    wanted = rc_variable_part(value)
    return next((other for other in others if rc_variable_part(other) == wanted), None)


def hostname_error(value: str) -> str | None:
    """RFC 1123, as hostname(7) wants it; no dot at the end."""
    problem = _text_error(value, HOSTNAME_MAX) or _charset_error(value, "A-Za-z0-9.-", "letters, digits, “-” and “.”")
    if problem:
        return problem
    for label in value.split("."):
        if not label:
            return "has an empty part: put exactly one “.” between two parts, none at the ends."
        if len(label) > 63:
            return f"has a part of {len(label)} characters; at most 63 may stand between two dots."
        if label.startswith("-") or label.endswith("-"):
            return f"has the part “{label}”: a part must not begin or end with “-”."
    return None


def dataset_component_error(value: str) -> str | None:
    """One part of a dataset's name (zfs(8), zfs_namecheck.c), without the spaces and colons that ZFS would take."""
    return (
        _text_error(value, DATASET_MAX)
        or _charset_error(value, "A-Za-z0-9_.-", "letters, digits, “_”, “-” and “.”")
        or _first_error(value, "A-Za-z0-9_", "a letter, a digit or “_”")
    )


def dataset_error(value: str) -> str | None:
    """A new filesystem's full name, POOL/…; without `@` and `#`."""
    problem = _text_error(value, DATASET_MAX)
    if problem:
        return problem
    pool, *components = value.split("/")
    return pool_error(pool) or next(filter(None, map(dataset_component_error, components)), None)


def dataset_reference_error(value: str) -> str | None:
    """The name of a dataset that is there already: as zfs(8) allows it, spaces and colons included."""
    problem = _text_error(value, DATASET_MAX) or _charset_error(
        value, "A-Za-z0-9_.:/ -", "letters, digits, “_”, “-”, “.”, “:” and space"
    )
    if problem:
        return problem
    if not re.fullmatch(r"[A-Za-z][^/]*(/[^/]+)*", value):
        return "must begin with a pool's name, and have no empty part between two “/”."
    if any(part in (".", "..") or part.startswith("-") for part in value.split("/")):
        return "has a part that is “.”, “..” or begins with “-”."
    return None


def snapshot_name_error(value: str) -> str | None:
    """What stands behind the `@`."""
    return dataset_component_error(value)


def snapshot_error(value: str) -> str | None:
    """DATASET@NAME, at most 255 characters in all."""
    problem = _text_error(value, DATASET_MAX)
    if problem:
        return problem
    dataset, at, name = value.partition("@")
    if not at:
        return "has no “@”; expected DATASET@NAME."
    return dataset_reference_error(dataset) or snapshot_reference_error(name)


def snapshot_reference_error(value: str) -> str | None:
    """The part behind the `@` of a snapshot that is there already."""
    return (
        _text_error(value, DATASET_MAX)
        or _charset_error(value, "A-Za-z0-9_.: -", "letters, digits, “_”, “-”, “.”, “:” and space")
        or _first_error(value, "A-Za-z0-9_.:", "something else than “-” and a space")
    )


def dataset_or_snapshot_error(value: str) -> str | None:
    return snapshot_error(value) if "@" in value else dataset_reference_error(value)


def pool_error(value: str) -> str | None:
    """zpool(8), “zpool create”: begins with a letter, reserved words refused."""
    problem = (
        _text_error(value, DATASET_MAX)
        or _charset_error(value, "A-Za-z0-9_.-", "letters, digits, “_”, “-” and “.”")
        or _first_error(value, "A-Za-z", "a letter")
    )
    if problem:
        return problem
    if re.match(r"(mirror|raidz|draid|spare|log)", value) or re.match(r"c[0-9]", value):
        return "is reserved by zpool(8): must not begin with mirror, raidz, draid, spare, log, or c and a digit."
    return None


def interface_error(value: str) -> str | None:
    return (
        _text_error(value, INTERFACE_MAX)
        or _charset_error(value, "A-Za-z0-9_.-", "letters, digits, “_”, “-” and “.”")
        or _first_error(value, "A-Za-z", "a letter")
    )


def interface_name(jail_name: str, suffix: str, taken: Collection[str] = ()) -> str:
    """The name of one of the jail's interfaces, at most 15 characters: `www1` and `a` give `www1_a`.

    Where that would be longer than 14, the name is cut and a hash follows, always 15 characters: so no cut name can
    equal an uncut one. `taken` are names to avoid, in case two hashes meet.
    """
    require("jail_name", jail_name, jail_name_error)
    if not re.fullmatch(r"[a-z0-9]{1,3}", suffix):
        raise ValueError(f"suffix: expected 1 to 3 lower case letters or digits, got {suffix!r}")
    tail = f"_{suffix}"
    plain = jail_name + tail
    if len(plain) < INTERFACE_MAX and plain[0].isalpha() and plain not in taken:
        return plain
    head = re.sub(r"[^A-Za-z]", "", jail_name)[:3] or "j"
    for attempt in range(1000):
        digest = hashlib.sha256(f"{jail_name} {suffix} {attempt}".encode()).digest()
        code = base64.b32encode(digest).decode("ascii").lower()
        name = head + code[: INTERFACE_MAX - len(head) - len(tail)] + tail
        if name not in taken:
            return name
    raise ValueError(f"jail_name: found no free interface name for {jail_name!r}")


def tenant_error(value: str) -> str | None:
    """A tenant's slug: part of datasets and paths."""
    problem = (
        _text_error(value, TENANT_MAX)
        or _charset_error(value, "a-z0-9-", "lower case letters, digits and “-”")
        or _first_error(value, "a-z", "a lower case letter")
    )
    if problem:
        return problem
    if value.endswith("-"):
        return "must not end with “-”."
    if value in RESERVED_TENANTS:
        return f"“{value}” is reserved for the panel's own datasets; choose another."
    return None


def path_error(value: str) -> str | None:
    """An absolute path without `.`, `..`, empty parts, spaces or characters with a meaning to sh or fstab."""
    problem = _text_error(value, PATH_MAX) or _charset_error(
        value, "A-Za-z0-9_.@:,+%/-", "letters, digits and “_.@:,+%/-”"
    )
    if problem:
        return problem
    if not value.startswith("/"):
        return "must be absolute: begin with “/”."
    if value == "/":
        return None
    parts = value[1:].split("/")
    if "" in parts:
        return "has an empty part: no “//” and no “/” at the end."
    if "." in parts or ".." in parts:
        return "has “.” or “..” as a part; write the path out."
    if any(len(part) > 255 for part in parts):
        return "has a part of more than 255 characters."
    return None


def jail_path_error(value: str) -> str | None:
    """A path below /jail, where the panel's jails are."""
    problem = path_error(value)
    if problem:
        return problem
    return None if value.startswith(f"{JAILS_ROOT}/") else f"must be below {JAILS_ROOT}."


def file_name_error(value: str) -> str | None:
    """One part of a path."""
    problem = _text_error(value, 255) or _charset_error(value, "A-Za-z0-9_.@:,+%-", "letters, digits and “_.@:,+%-”")
    return problem or _first_error(value, "A-Za-z0-9_", "a letter, a digit or “_”")


def release_error(value: str) -> str | None:
    """14.2-RELEASE, 14-STABLE, 15.0-BETA2, 15.0-RC1, 16.0-CURRENT; no patch level, which is no release of its own."""
    problem = _text_error(value, 32)
    if problem:
        return problem
    if not re.fullmatch(r"[1-9][0-9]?(\.[0-9]{1,2})?-(RELEASE|STABLE|CURRENT|ALPHA[0-9]|BETA[0-9]|RC[0-9])", value):
        return "is not a release; expected for example 14.2-RELEASE, 14.2-STABLE, 15.0-BETA2 or 15.0-RC1."
    return None


def arch_error(value: str) -> str | None:
    return None if value in ARCHES else f"is not an architecture; expected one of {', '.join(ARCHES)}."


def ip4_error(value: str) -> str | None:
    """An address, or an address with a prefix length: 192.0.2.1, 192.0.2.1/24."""
    return _address_error(value, 4)


def ip6_error(value: str) -> str | None:
    """An address, or an address with a prefix length: 2001:db8::1, 2001:db8::1/64; without a zone."""
    return _address_error(value, 6)


def user_name_error(value: str) -> str | None:
    """pw(8): at most 32 characters, of which we take those that are safe everywhere."""
    return (
        _text_error(value, 32)
        or _charset_error(value, "a-z0-9_-", "lower case letters, digits, “_” and “-”")
        or _first_error(value, "a-z_", "a lower case letter or “_”")
    )


def text_error(value: str, longest: int = 4096) -> str | None:
    """Any text that is one line: at most `longest` bytes, no control characters. It may be empty."""
    if not value:
        return None
    problem = _text_error(value, longest, ascii_only=False)
    if problem is None and len(value.encode()) > longest:
        return f"has {len(value.encode())} bytes; at most {longest} are allowed."
    return problem


def word_error(value: str) -> str | None:
    """Any text that may be one argument and is printed on one line: no control characters, no leading `-`."""
    return _text_error(value, 4096, ascii_only=False) or ("must not begin with “-”." if value.startswith("-") else None)


def _address_error(value: str, version: int) -> str | None:
    problem = _text_error(value, 64) or _charset_error(
        value, "0-9A-Fa-f:./", "digits, letters a to f, “:”, “.” and “/”"
    )
    if problem:
        return problem
    family = f"IPv{version}"
    address, slash, prefix = value.partition("/")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"is not an {family} address."
    if parsed.version != version:
        return f"is an IPv{parsed.version} address; expected {family}."
    most = parsed.max_prefixlen
    if slash and not (re.fullmatch(r"0|[1-9][0-9]{0,2}", prefix) and int(prefix) <= most):
        return f"has the prefix length “{prefix}”; expected 0 to {most}."
    if parsed.is_unspecified or parsed.is_multicast or str(parsed) == "255.255.255.255":
        return "is not an address that a jail can have: it is unspecified, multicast or broadcast."
    return None


def _text_error(value: str, longest: int, *, ascii_only: bool = True) -> str | None:
    if not value:
        return "must not be empty."
    for character in value:
        if (
            ord(character) < 32
            or ord(character) == 127
            or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        ):
            return f"contains a control character (U+{ord(character):04X})."
        if ascii_only and ord(character) > 126:
            name = unicodedata.name(character, "unnamed")
            return f"contains “{character}” (U+{ord(character):04X} {name}); only ASCII is allowed."
    if len(value) > longest:
        return f"has {len(value)} characters; at most {longest} are allowed."
    return None


def _charset_error(value: str, allowed: str, described: str) -> str | None:
    wrong = re.search(f"[^{allowed}]", value)
    return f"contains “{wrong[0]}”; only {described} are allowed." if wrong else None


def _first_error(value: str, allowed: str, described: str) -> str | None:
    return None if re.match(f"[{allowed}]", value) else f"must begin with {described}."
