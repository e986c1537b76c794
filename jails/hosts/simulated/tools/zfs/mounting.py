"""zfs mount, unmount, jail, unjail, and mounts that follow properties (libzfs_mount.c, libzfs_changelist.c)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jails.hosts.simulated.host import strerror

from .env import Env
from .errors import UsageError, ZfsError, expect_operands, options
from .model import Zfs


def mountpoint_of(zfs: Zfs, env: Env, name: str) -> str | None:
    """Where the dataset is mounted now, seen from the host."""
    return env.mounts(zfs.state).get(name)


def busy_words(zfs: Zfs) -> str:
    """strerror(3) in 12.1, EZFS_BUSY of libzfs in OpenZFS (unmount_one in libzfs_mount.c of 2.2.6)."""
    return "pool or dataset is busy" if zfs.openzfs else "Device busy"


def unmount_one(zfs: Zfs, env: Env, name: str, force: bool = False) -> None:
    """Unmount the dataset if it is mounted."""
    target = mountpoint_of(zfs, env, name)
    if target is None:
        return
    if env.busy(zfs.state, target, force):
        raise ZfsError(f"cannot unmount '{env.seen(zfs.state, target)}': {busy_words(zfs)}")
    env.unmount(zfs.state, target)


def unmount_all(zfs: Zfs, env: Env, concerned: Sequence[str], force: bool = False) -> list[str]:
    """Unmount those that are mounted, deepest first; if one is busy all are mounted again. Returns those unmounted."""
    done: list[tuple[str, str]] = []
    order = sorted(concerned, key=lambda one: (mountpoint_of(zfs, env, one) or "").count("/"), reverse=True)
    for one in order:
        target = mountpoint_of(zfs, env, one)
        if target is None:
            continue
        try:
            unmount_one(zfs, env, one, force)
        except ZfsError:
            for name, before in reversed(done):
                env.mount(zfs.state, name, before, option_words(zfs, name))
            raise
        done.append((one, target))
    return [name for name, _ in done]


def option_words(zfs: Zfs, name: str) -> list[str]:
    """Mount options by the properties, as mount(8) shows them."""
    words = ["ro" if zfs.value(name, "readonly") == "on" else "rw"]
    for property_, off in (("atime", "noatime"), ("exec", "noexec"), ("setuid", "nosuid")):
        if zfs.value(name, property_) == "off":
            words.append(off)
    return [*words, "nfsv4acls"]


def mount_new(zfs: Zfs, env: Env, name: str) -> int:
    """Mount a dataset just made, if its properties want that. Returns an exit status."""
    if not _wanted(zfs, env, name):
        return 0
    try:
        mount_at_property(zfs, env, name)
    except ZfsError as error:
        env.err(f"{error.text}\nfilesystem successfully created, but not mounted\n")
        return 1
    return 0


def _wanted(zfs: Zfs, env: Env, name: str) -> bool:
    if zfs.datasets[name]["type"] != "filesystem" or zfs.value(name, "canmount") != "on":
        return False
    if (zfs.value(name, "jailed") == "on") != (env.jail is not None):
        return False
    return zfs.value(name, "mountpoint") not in ("none", "legacy")


def mount_at_property(zfs: Zfs, env: Env, name: str, given: Sequence[str] = ()) -> None:
    """Mount where the mountpoint property says, making the directory; `given` are options of the command line."""
    wanted = str(zfs.value(name, "mountpoint"))
    problem = env.prepare_mountpoint(zfs.state, wanted, overlay=zfs.openzfs)
    if problem:
        raise ZfsError(f"cannot mount '{name if problem == 'Not a directory' else wanted}': {problem}")
    words = option_words(zfs, name)
    for word in given:
        opposite = {"ro": "rw", "rw": "ro"}.get(word, word.removeprefix("no") if word.startswith("no") else f"no{word}")
        words = [one for one in words if one not in (word, opposite)]
        if word in ("ro", "rw"):
            words.insert(0, word)
        elif word in ("noatime", "noexec", "nosuid"):
            words.insert(len(words) - 1, word)
    env.mount(zfs.state, name, env.host_target(zfs.state, wanted), words)


def mount_quietly(zfs: Zfs, env: Env, name: str) -> int:
    """Mount again after a change; complaints go to stderr. Returns an exit status."""
    if not _mountable_again(zfs, env, name):
        return 0
    try:
        mount_at_property(zfs, env, name)
    except ZfsError as error:
        env.err(error.text + "\n")
        return 1
    return 0


def _mountable_again(zfs: Zfs, env: Env, name: str) -> bool:
    if (zfs.value(name, "jailed") == "on") != (env.jail is not None) or mountpoint_of(zfs, env, name):
        return False
    return zfs.value(name, "mountpoint") not in ("none", "legacy")


def follows_name(zfs: Zfs, env: Env, name: str) -> bool:
    """Whether the mount of a dataset must move when the dataset is renamed."""
    if mountpoint_of(zfs, env, name) is None:
        return False
    return zfs.value(name, "mountpoint") not in ("none", "legacy")


def change_mountpoint(zfs: Zfs, env: Env, name: str, change: Callable[[], None]) -> int:
    """Unmount the dataset and those that inherit its mountpoint, change, and mount them where they belong now.

    Returns an exit status: 1 when one could not be mounted, which was told.
    """
    concerned = [name, *(one for one in zfs.descendants(name) if _inherits_from(zfs, one, name))]
    before = {one for one in concerned if mountpoint_of(zfs, env, one)}
    legacy = zfs.value(name, "mountpoint") == "legacy"
    unmount_all(zfs, env, [one for one in concerned if not (legacy and one == name)])
    change()
    failed = 0
    for one in concerned:
        if one in before or zfs.value(one, "canmount") == "on":
            failed |= mount_quietly(zfs, env, one)
    return failed


def _inherits_from(zfs: Zfs, name: str, ancestor: str) -> bool:
    source = zfs.property(name, "mountpoint")[1]
    if source == "default":
        return True
    if not source.startswith("inherited from "):
        return False
    origin = source.removeprefix("inherited from ")
    return origin == ancestor or ancestor.startswith(origin + "/")


def refresh_options(zfs: Zfs, env: Env, name: str) -> None:
    """Let changed properties show in the mounts of the dataset and of all below it."""
    mounted = env.mounts(zfs.state)
    for one in [name, *zfs.descendants(name)]:
        if one in mounted:
            env.set_options(zfs.state, mounted[one], option_words(zfs, one))


def mount(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "avo:Ofl")
    flags = {letter for letter, _ in found}
    if "a" in flags:
        if operands:
            raise UsageError("too many arguments")
        return _mount_all(env)
    if not operands:
        return _show_mounts(env)
    if len(operands) > 1:
        raise UsageError("too many arguments")
    from .datasets import open_dataset

    with env.changing() as zfs:
        name = operands[0]
        open_dataset(zfs, env, name, "f")
        _check_mount(zfs, env, name)
        given = [word for letter, value in found if letter == "o" for word in value.split(",") if word]
        mount_at_property(zfs, env, name, given)
    return 0


def _check_mount(zfs: Zfs, env: Env, name: str) -> None:
    complaint = f"cannot mount '{name}'"
    jailed = zfs.value(name, "jailed") == "on"
    if jailed and env.jail is None:
        raise ZfsError(f"{complaint}: dataset is exported to a local zone")
    if not jailed and env.jail is not None:
        raise ZfsError(f"{complaint}: permission denied")
    mountpoint = zfs.value(name, "mountpoint")
    if mountpoint == "legacy":
        raise ZfsError(f"{complaint}: legacy mountpoint\nuse mount(8) to mount this filesystem")
    if mountpoint == "none":
        raise ZfsError(f"{complaint}: no mountpoint set")
    if zfs.value(name, "canmount") == "off":
        raise ZfsError(f"{complaint}: 'canmount' property is set to 'off'")
    if mountpoint_of(zfs, env, name):
        raise ZfsError(f"{complaint}: filesystem already mounted")


def _show_mounts(env: Env) -> int:
    with env.reading() as zfs:
        for name, target in env.mounts(zfs.state).items():
            if env.visible(zfs, name):
                env.out(f"{name:<30}  {env.seen(zfs.state, target)}\n")
    return 0


def _mount_all(env: Env) -> int:
    failed = 0
    with env.changing() as zfs:
        names = [one for one in zfs.datasets if _wanted(zfs, env, one) and env.visible(zfs, one)]
        for name in sorted(names, key=lambda one: str(zfs.value(one, "mountpoint"))):
            if not mountpoint_of(zfs, env, name):
                failed |= mount_quietly(zfs, env, name)
    return failed


def unmount(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "afu")
    flags = {letter for letter, _ in found}
    with env.changing() as zfs:
        if "a" in flags:
            return _unmount_everything(zfs, env, "f" in flags)
        expect_operands(operands, "filesystem")
        name = _named(zfs, env, operands[0])
        if zfs.value(name, "mountpoint") == "legacy":
            raise ZfsError(f"cannot unmount '{name}': legacy mountpoint\nuse umount(8) to unmount this filesystem")
        if not mountpoint_of(zfs, env, name):
            raise ZfsError(f"cannot unmount '{name}': not currently mounted")
        followers = [one for one in zfs.descendants(name) if _inherits_from(zfs, one, name)]
        unmount_all(zfs, env, [name, *followers], "f" in flags)
    return 0


def _named(zfs: Zfs, env: Env, operand: str) -> str:
    """The dataset meant; for a path as unshare_unmount_path() in zfs_main.c finds it."""
    from .datasets import open_dataset

    if not operand.startswith("/"):
        open_dataset(zfs, env, operand, "f")
        return operand
    complaint = f"cannot unmount '{operand}'"
    try:
        place = env.place(zfs.state, operand)
    except OSError as error:
        raise ZfsError(f"{complaint}: {strerror(error)}") from None
    if not place.exists:
        raise ZfsError(f"{complaint}: No such file or directory")
    if place.mount["type"] != "zfs":
        raise ZfsError(f"{complaint}: not a ZFS filesystem")
    if not place.is_mountpoint:
        raise ZfsError(f"{complaint}: not a mountpoint")
    return str(place.mount["source"])


def _unmount_everything(zfs: Zfs, env: Env, force: bool) -> int:
    failed = 0
    for name in sorted(env.mounts(zfs.state), reverse=True):
        if zfs.value(name, "mountpoint") == "legacy" or zfs.value(name, "canmount") == "noauto":
            continue
        try:
            unmount_one(zfs, env, name, force)
        except ZfsError as error:
            env.err(error.text + "\n")
            failed = 1
    return failed


def jail(env: Env, argv: Sequence[str]) -> int:
    return _jail(env, argv, attach=True)


def unjail(env: Env, argv: Sequence[str]) -> int:
    return _jail(env, argv, attach=False)


def _jail(env: Env, argv: Sequence[str], attach: bool) -> int:
    from .datasets import open_dataset

    _, operands = options(argv, "")
    if len(operands) < 2:
        raise UsageError("missing argument(s)")
    if len(operands) > 2:
        raise UsageError("too many arguments")
    with env.changing() as zfs:
        jid = env.jid(zfs.state, operands[0])
        if jid is None:
            raise UsageError("invalid jail id or name")
        name = operands[1]
        record = open_dataset(zfs, env, name, "f")
        delegated = record.setdefault("jail", [])
        if attach and jid in delegated:
            raise ZfsError(f"cannot jail '{name}': dataset already exists")
        if not attach and jid not in delegated:
            raise ZfsError(f"cannot unjail '{name}': dataset does not exist")
        record["jail"] = [*delegated, jid] if attach else [one for one in delegated if one != jid]
    return 0
