"""Names of datasets as ZFS checks them (zfs(8), "ZFS File System Hierarchy"; module/zcommon/zfs_namecheck.c)."""

from __future__ import annotations

import string

MAXIMUM_LENGTH = 255
MAXIMUM_NESTING = 50
_ALLOWED = frozenset(string.ascii_letters + string.digits + "-_.: ")


def problem(name: str, *, snapshot: bool = False, bookmark: bool = False, modifying: bool = True) -> str | None:
    """What ZFS says is wrong with the name of a dataset, or None.

    `snapshot` says that a snapshot is expected ("a@b"), `bookmark` a bookmark ("a#b").
    """
    if "@" in name and not snapshot:
        return "snapshot delimiter '@' is not expected here"
    if snapshot and "@" not in name:
        return "missing '@' delimiter in snapshot name"
    if "#" in name and not bookmark:
        return "bookmark delimiter '#' is not expected here"
    if modifying and "%" in name:
        return "invalid character % in name"
    return _entity_problem(name)


def _entity_problem(name: str) -> str | None:
    if len(name.encode()) > MAXIMUM_LENGTH:
        return "name is too long"
    if name.startswith("/"):
        return "leading slash in name"
    if not name:
        return "empty component or misplaced '@' or '#' delimiter in name"
    if name.endswith("/"):
        return "trailing slash in name"
    path, delimiter, last = _split(name)
    if "@" in last or "#" in last:
        return "multiple '@' and/or '#' delimiters in name"
    components = path.split("/") + ([last] if delimiter else [])
    for component in components:
        if not component:
            return "empty component or misplaced '@' or '#' delimiter in name"
        wrong = next((letter for letter in component if letter not in _ALLOWED and letter != "%"), None)
        if wrong is not None or "/" in component:
            return f"invalid character '{wrong or '/'}' in name"
        if component == ".":
            return "self reference, '.' is found in name"
        if component == "..":
            return "parent reference, '..' is found in name"
    if path.count("/") >= MAXIMUM_NESTING:
        return "maximum name nesting depth exceeded"
    return None


def _split(name: str) -> tuple[str, str, str]:
    positions = [at for at in (name.find("@"), name.find("#")) if at >= 0]
    if not positions:
        return name, "", ""
    at = min(positions)
    return name[:at], name[at], name[at + 1 :]


def pool_problem(name: str) -> str | None:
    """What zpool(8) says is wrong with the name of a new pool, or None."""
    if len(name) > MAXIMUM_LENGTH - 32:
        return "name is too long"
    wrong = next((letter for letter in name if letter not in _ALLOWED), None)
    if wrong is not None:
        return f"invalid character '{wrong}' in pool name"
    if not name or not name[0].isascii() or not name[0].isalpha():
        return "name must begin with a letter"
    if name.startswith(("mirror", "raidz", "draid", "spare")) or name == "log":
        return "name is reserved"
    return None
