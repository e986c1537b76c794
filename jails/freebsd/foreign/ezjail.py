"""ezjail, and BSDploy, which drives ezjail and leaves marks of its own.

Sources: tomster/ezjail ezjail.sh (a dot in the name of a file of etc/ezjail means disabled; what is no letter or
digit of a name is `_` there), ezjail-admin (config -r norun renames the file to NAME.norun); ployground/bsdploy
roles/jails_host (flavour bsdploy_base); ployground/ploy_ezjail (its line in /etc/fstab.NAME). What starts a jail is
rc.d/jail with the variables of the file.
"""

from __future__ import annotations

import re

from jails.freebsd.foreign import legacy, words
from jails.freebsd.foreign.model import BASE, THICK, Evidence, FileEdit, ForeignJail

HOME = "/usr/local/etc/ezjail"
BSDPLOY_FLAVOUR = "/usr/jails/flavours/bsdploy_base/etc/rc.conf"
BSDPLOY_LINE = "# mount points from ploy"
GLOBS = ("usr/local/etc/ezjail/*", "usr/local/etc/ezjail.conf", "etc/fstab.*", BSDPLOY_FLAVOUR[1:])


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    found = []
    for path, match in words.matching(evidence.files, rf"{HOME}/([A-Za-z0-9_]+)(\.norun)?"):
        jail = _jail(evidence, path, match[1], disabled=bool(match[2]))
        if jail is not None:
            found.append(jail)
    return tuple(found)


def _jail(evidence: Evidence, path: str, name: str, *, disabled: bool) -> ForeignJail | None:
    text = evidence.files[path]
    own = words.variables(text)
    root = own.get(f"jail_{name}_rootdir", "").rstrip("/")
    if not root:
        return None
    # rc.d/jail has what rc.conf says of all jails too.
    values = evidence.rc_values | own
    hostname = own.get(f"jail_{name}_hostname", "")
    fstab = evidence.files.get(f"/etc/fstab.{name}", "")
    parameters, notes = legacy.legacy_parameters(evidence, values, name)
    problems = []
    if own.get(f"jail_{name}_image"):
        problems.append("Its tree is in an image file, which ezjail attaches before each start.")
    if own.get(f"jail_{name}_zfs_datasets"):
        problems.append("ezjail hands datasets over to it after each start.")
    if own.get(f"jail_{name}_cpuset"):
        notes = (*notes, f"ezjail binds it to CPUs {own[f'jail_{name}_cpuset']} after each start.")
    ploy = BSDPLOY_LINE in fstab or BSDPLOY_FLAVOUR in evidence.files
    called = hostname or name
    return ForeignJail(
        manager="bsdploy" if ploy else "ezjail",
        name=called if _file_of(called) == name else name,
        running_name=name,
        config=path,
        root=root,
        kind=BASE if re.search(rf"\s{re.escape(root)}/basejail\s+nullfs\s", fstab) else THICK,
        hostname=hostname,
        addresses=legacy.addresses_of(values, name),
        vnet="vnet" in parameters,
        boot=not disabled and words.service_enabled(evidence, "ezjail"),
        autostart=not disabled,
        start=("service", "ezjail", "onestart", name),
        stop=("service", "ezjail", "onestop", name),
        autostart_off=() if disabled else (FileEdit(path, text, None), FileEdit(f"{path}.norun", None, text)),
        files=tuple(each for each in (path, f"/etc/fstab.{name}") if each in evidence.files),
        dataset=words.dataset_at(evidence, root),
        parameters=parameters,
        notes=notes,
        problems=tuple(problems),
    )


def _file_of(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)
