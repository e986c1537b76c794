"""jail(8): argument lists that make, change and remove one jail."""

import re
from collections.abc import Mapping, Sequence

from jails.freebsd import names
from jails.freebsd.command import Argv, argv, checked


def create(name: str, *, file: str, verbose: bool = False, quiet: bool = False) -> Argv:
    """Start one jail as `file` describes it. The status tells; what stderr says may concern other jails of the file.

    `quiet` (-q) for who may go away: once nobody reads any more, the line that says “created” would end jail(8)
    half-way (SIGPIPE), with what was still to be done.
    """
    return _on_file("-c", name, file, verbose, quiet)


def remove(name: str, *, file: str, verbose: bool = False, quiet: bool = False) -> Argv:
    """Stop one jail. It undoes what `file` says now, so hand it the text that the jail was started with.

    `quiet` as for `create`: between “removed” and the end stand the mounts and addresses.
    """
    return _on_file("-r", name, file, verbose, quiet)


def modify(name: str, *, file: str) -> Argv:
    """Give a running jail the parameters that `file` has now, as far as they can change while it runs."""
    return _on_file("-m", name, file)


def remove_unconfigured(name: str) -> Argv:
    """Stop a jail without its configuration: addresses and mounts that its start added stay behind."""
    return argv("jail", "-R", _existing(name))


def set_parameters(name: str, parameters: Mapping[str, str | bool]) -> Argv:
    """Set parameters of a running jail; a boolean is written as jail(8) has it: `persist`, `nopersist`."""
    if not parameters:
        raise ValueError("parameters: expected at least one, got none")
    return argv("jail", "-m", f"name={_existing(name)}", *(_parameter(key, value) for key, value in parameters.items()))


def run_transient(name: str, path: str, command: Sequence[str]) -> Argv:
    """Run one command in a jail of its own, without network, that goes when the command ends.

    It mounts nothing, for jail(8) would leave it behind: where the command needs /dev, mount a devfs first.
    """
    names.require("name", name, names.jail_name_error)
    names.require("path", path, names.path_error)
    fixed = ("exec.clean", "ip4=disable", "ip6=disable")
    tool, *rest = checked(command)
    return argv("jail", "-c", f"name={name}", f"path={path}", *fixed, f"command={tool}", *rest)


def _on_file(action: str, name: str, file: str, verbose: bool = False, quiet: bool = False) -> Argv:
    names.require("file", file, names.path_error)
    return argv("jail", *(["-v"] if verbose else []), "-f", file, *(["-q"] if quiet else []), action, _existing(name))


def _existing(name: str) -> str:
    return names.require("name", name, names.jail_reference_error)


def _parameter(key: str, value: str | bool) -> str:
    if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", key):
        raise ValueError(f"parameters: {key!r} is not the name of a jail parameter")
    if isinstance(value, bool):
        parent, dot, last = key.rpartition(".")
        return key if value else f"{parent}{dot}no{last}"
    problem = names.text_error(value)
    if problem:
        raise ValueError(f"parameters: {key}: {problem}")
    return f"{key}={value}"
