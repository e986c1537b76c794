"""zfs set and inherit, and the values that create, clone and receive take (zfs_valid_proplist in libzfs_dataset.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import mounting, numbers, space
from .env import Env
from .errors import UsageError, ZfsError, options
from .model import Record, Zfs, type_letter
from .properties import Property, is_user_property

PENDING = 2048
LIMITS = ("quota", "refquota", "reservation", "refreservation")


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Names and values of `property=value` words."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ZfsError("missing '=' for property=value argument")
        if name in found:
            raise ZfsError(f"property '{name}' specified multiple times")
        found[name] = value
    return found


def checked_values(
    zfs: Zfs, assignments: Mapping[str, str], letter: str, complaint: str, existing: bool = False
) -> Record:
    """The values that a dataset of this type (f, v, s) will keep; ZfsError begins with `complaint`."""
    values: Record = {}
    for name, text in assignments.items():
        known = zfs.properties.find(name)
        if known is None and is_user_property(name):
            _check_user_property(name, text, complaint)
            values[name] = text
            continue
        if letter == "s":
            raise ZfsError(f"{complaint}: this property can not be modified for snapshots")
        if known is None:
            raise ZfsError(f"{complaint}: invalid property '{name}'")
        _check_applies(known, name, letter, complaint, existing)
        try:
            values[known.name] = zfs.properties.value(known, text, letter)
        except ValueError as error:
            raise ZfsError(f"{complaint}: {error}") from None
    return values


def _check_user_property(name: str, text: str, complaint: str) -> None:
    if len(name) >= 256:
        raise ZfsError(f"{complaint}: property name '{name}' is too long")
    if len(text.encode()) >= 8192:
        raise ZfsError(f"{complaint}: property value too long")


def _check_applies(known: Property, name: str, letter: str, complaint: str, existing: bool) -> None:
    if letter not in known.types:
        raise ZfsError(f"{complaint}: '{name}' does not apply to datasets of this type")
    if known.flow == "readonly" or (known.flow == "once" and existing):
        raise ZfsError(f"{complaint}: '{name}' is readonly")


def apply_values(record: Record, values: Mapping[str, str | int]) -> None:
    """Keep the values; what stands for "none" is forgotten, as ZFS then shows the default."""
    for name, value in values.items():
        if name in LIMITS and value == 0:
            record["props"].pop(name, None)
        else:
            record["props"][name] = value


def check_limits(zfs: Zfs, name: str, values: Mapping[str, str | int], creating: bool = False) -> None:
    """Refuse a quota below what is used and a reservation beyond what is free."""
    complaint = f"cannot create '{name}'" if creating else f"cannot set property for '{name}'"
    found = space.totals(zfs)[name]
    small = "out of space" if creating else "size is less than current used or reserved space"
    large = "out of space" if creating else "size is greater than available space"
    quota, refquota = int(values.get("quota", 0)), int(values.get("refquota", 0))
    reserved = int(zfs.datasets[name]["props"].get("reservation", 0))
    # What waits to be written counts too (dsl_dir_set_quota_check): a little metadata is always on its way.
    if quota and (quota < found.used + PENDING or (quota < reserved and "reservation" not in values)):
        raise ZfsError(f"{complaint}: {small}")
    if refquota and refquota < found.referenced:
        raise ZfsError(f"{complaint}: {small}")
    if _beyond(zfs, name, values, creating):
        raise ZfsError(f"{complaint}: {large}")


def _beyond(zfs: Zfs, name: str, values: Mapping[str, str | int], applied: bool) -> bool:
    """Whether the reservations of `values` do not fit; `applied` says that the dataset has them already."""
    wanted = {limit: int(values[limit]) for limit in ("reservation", "refreservation") if values.get(limit)}
    if not wanted:
        return False
    props = zfs.datasets[name]["props"]
    before = {limit: props.pop(limit) for limit in wanted if applied and limit in props}
    found = space.totals(zfs)[name]
    props.update(before)
    reservation, refreservation = wanted.get("reservation", 0), wanted.get("refreservation", 0)
    quota = int(values.get("quota", 0) or props.get("quota", 0))
    return (
        reservation - found.used > found.available
        or refreservation - found.referenced > found.available
        or bool(quota and max(reservation, refreservation) > quota)
    )


def set_(env: Env, argv: Sequence[str]) -> int:
    quiet = False
    with env.changing() as zfs:
        if zfs.openzfs:
            found, operands = options(argv, "u")
            quiet = bool(found)
        else:
            _, operands = options(argv, "")
        if not operands:
            raise UsageError("missing arguments")
        texts = [word for word in operands if "=" in word]
        targets = operands[len(texts) :]
        if not texts:
            raise UsageError("missing property=value argument(s)")
        if not targets:
            raise UsageError("missing dataset name(s)")
        if operands[: len(texts)] != texts:
            raise UsageError("invalid argument order")
        assignments = parse_assignments(texts)
        failed = 0
        for target in targets:
            try:
                _set_one(zfs, env, target, assignments, quiet)
            except ZfsError as error:
                env.err(error.text + "\n")
                failed = 1
    return failed


def _set_one(zfs: Zfs, env: Env, name: str, assignments: Mapping[str, str], quiet: bool) -> None:
    from .datasets import open_dataset

    record = open_dataset(zfs, env, name)
    letter = type_letter(name, record)
    complaint = f"cannot set property for '{name}'"
    _check_jail_rights(zfs, env, name, assignments, complaint)
    values = checked_values(zfs, assignments, letter, complaint, existing=True)
    if "volsize" in values and letter == "v":
        _check_volsize(zfs, name, int(values["volsize"]), complaint)
    if letter != "s":
        env.measure(zfs, name)
        if any(limit in values for limit in LIMITS):
            check_limits(zfs, name, values)
    _change(zfs, env, name, record, values, quiet)


def _check_volsize(zfs: Zfs, name: str, size: int, complaint: str) -> None:
    """zfs_valid_proplist() in libzfs_dataset.c."""
    block = int(zfs.value(name, "volblocksize") or 0)
    if block and size % block:
        raise ZfsError(f"{complaint}: 'volsize' must be a multiple of volume block size ({numbers.nice(block)})")
    if not size:
        raise ZfsError(f"{complaint}: 'volsize' cannot be zero")


def _check_jail_rights(zfs: Zfs, env: Env, name: str, assignments: Mapping[str, str], complaint: str) -> None:
    if "@" in name:
        return
    jailed = zfs.value(name, "jailed") == "on"
    if env.jail is None:
        for shared in ("mountpoint", "sharenfs", "sharesmb"):
            if jailed and shared in assignments and assignments[shared] not in ("none", "legacy"):
                raise ZfsError(f"{complaint}: '{shared}' cannot be set on dataset in a non-global zone")
        return
    top = not env.delegated(zfs, name.rpartition("/")[0]) if "/" in name else True
    if not env.delegated(zfs, name) or "jailed" in assignments:
        raise ZfsError(f"{complaint}: permission denied")
    if top and {"quota", "reservation", "filesystem_limit", "snapshot_limit"} & set(assignments):
        raise ZfsError(f"{complaint}: permission denied")


def _change(
    zfs: Zfs, env: Env, name: str, record: Record, values: Mapping[str, str | int], quiet: bool = False
) -> None:
    if "mountpoint" in values and not quiet:
        if mounting.change_mountpoint(zfs, env, name, lambda: apply_values(record, values)):
            # set_callback() in zfs_main.c
            raise ZfsError("property may be set but unable to remount filesystem")
        return
    if values.get("canmount") == "off" and mounting.mountpoint_of(zfs, env, name) and not quiet:
        mounting.unmount_one(zfs, env, name)
    if values.get("jailed") == "on" and env.jail is None and not quiet:
        mounting.unmount_all(zfs, env, [name, *zfs.descendants(name)])
    apply_values(record, values)
    if values.get("jailed") == "off":
        record.pop("jail", None)
    mounting.refresh_options(zfs, env, name)


def inherit(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "rS")
    flags = {letter for letter, _ in found}
    if not operands:
        raise UsageError("missing property argument")
    if len(operands) == 1:
        raise UsageError("missing dataset argument")
    with env.changing() as zfs:
        known = zfs.properties.find(operands[0])
        _check_inheritable(known, operands[0], "S" in flags)
        failed = 0
        for target in operands[1:]:
            try:
                _inherit_one(zfs, env, target, known.name if known else operands[0], flags)
            except ZfsError as error:
                env.err(error.text + "\n")
                failed = 1
    return failed


def _check_inheritable(known: Property | None, name: str, received: bool) -> None:
    if known is None:
        if not is_user_property(name):
            raise UsageError(f"invalid property '{name}'")
        return
    if known.flow in ("readonly", "once"):
        raise ZfsError(f"{name} property is read-only")
    if known.flow == "inherit" or received:
        return
    lines = [f"'{name}' property cannot be inherited"]
    if name in LIMITS:
        lines.append(f"use 'zfs set {name}=none' to clear")
        lines.append(f"use 'zfs inherit -S {name}' to revert to received value")
    raise ZfsError("\n".join(lines))


def _inherit_one(zfs: Zfs, env: Env, name: str, wanted: str, flags: set[str]) -> None:
    from .datasets import open_dataset

    record = open_dataset(zfs, env, name)
    concerned = [name, *zfs.descendants(name)] if "r" in flags and "@" not in name else [name]
    if wanted == "mountpoint" and "@" not in name:
        mounting.change_mountpoint(zfs, env, name, lambda: _forget(zfs, concerned, wanted, flags))
        return
    _forget(zfs, concerned, wanted, flags)
    if record.get("type") == "filesystem":
        mounting.refresh_options(zfs, env, name)


def _forget(zfs: Zfs, concerned: Sequence[str], wanted: str, flags: set[str]) -> None:
    for one in concerned:
        record = zfs.find(one) or {"props": {}}
        record["props"].pop(wanted, None)
        if "S" not in flags:
            record.get("received", {}).pop(wanted, None)
