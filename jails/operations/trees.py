"""Steps that make a jail's tree: from a release or a template, thick or thin, on ZFS or UFS, and prepare it.

    thin            zfs clone, straight under its name: one command, all or nothing
    thick on ZFS    zfs send | zfs receive under a name with the operation's id, then zfs rename. (zfs receive of 12.1
                    sets no properties, so the name is what proves whose it is until then.)
    UFS             tar under a name with the operation's id, then mv

Whatever fails, the whole tree goes: `Tree.discard` does nothing where the tree is not this operation's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jails.freebsd import files, jail, names, pw, tar, zfs
from jails.freebsd.command import Argv
from jails.models import Release, Template
from jails.models.release import Storage
from jails.operations import checks, common, layout
from jails.operations.step import Check, Run, Step, Undo, WriteFile

COPY_SECONDS = 4 * 3600
UNPACK_SECONDS = 3600
ARCHIVES = {Release: "base.txz", Template: "tree.tar"}
"""What a release, or a template, is on UFS: a file in its folder."""

RC_CONF = """\
# What a jail does not need is not started: rc.conf(5).
sendmail_enable="NONE"
syslogd_flags="-ss"
cron_flags="-J 60"
"""

COPY_CONFIGURATION = """\
for f in resolv.conf localtime; do
if [ -e "/etc/$f" ]; then install -S -m 0644 "/etc/$f" "$1/etc/$f" || exit; fi
done"""
# Inside a tree that somebody has had, its own sh writes; only text goes in.
SHOW_RESOLVER = "if [ -e /etc/resolv.conf ]; then cat /etc/resolv.conf; fi"
WRITE_RESOLVER = "rm -f /etc/resolv.conf && cat >/etc/resolv.conf"


@dataclass(frozen=True)
class Tree:
    """A jail's tree to be. `dataset` is "" on UFS. `marks` are the panel's properties, `quota` bytes or None.

    `work`: where it is prepared, before it is real on UFS, and in its place on ZFS.
    """

    base: Release | Template
    operation_id: str
    path: str
    dataset: str = ""
    thin: bool = False
    quota: int | None = None
    marks: Mapping[str, str] | None = None

    @property
    def draft(self) -> str:
        return layout.draft_path(self.path, self.operation_id)

    @property
    def draft_dataset(self) -> str:
        return f"{self.dataset}.{self.operation_id}"

    @property
    def work(self) -> str:
        return self.path if self.dataset else self.draft

    @property
    def properties(self) -> dict[str, str]:
        found = {layout.OPERATION: self.operation_id, **(self.marks or {})}
        return found | ({"quota": str(self.quota)} if self.quota else {})

    @property
    def discard(self) -> tuple[Undo, ...]:
        """How it goes again, wherever it has got to."""
        if self.dataset:
            return self._discard_dataset
        return common.remove_tree(self.draft, (checks.path_exists(self.draft),))

    @property
    def _discard_dataset(self) -> tuple[Undo, ...]:
        ours = checks.dataset_ours(self.dataset, self.operation_id)
        real = Undo(Run((zfs.destroy(self.dataset),)), only_if=(ours,))
        if self.thin:
            return (real,)
        # Its name proves that it is this operation's; the snapshot in it came with the stream.
        there = checks.dataset_exists(self.draft_dataset)
        return (real, Undo(Run((zfs.destroy(self.draft_dataset, recursive=True),)), only_if=(there,)))


def make(tree: Tree) -> tuple[Step, ...]:
    """All up to where it can be prepared at `tree.work`."""
    if not tree.dataset:
        return (*_unpack(tree),)
    mount_point = common.mount_point_steps(tree.path, tree.operation_id)
    return (*mount_point, *(_clone(tree) if tree.thin else _copy(tree)))


def make_real(tree: Tree) -> tuple[Step, ...]:
    """What is left once it is prepared."""
    if tree.dataset:
        return ()
    removed = common.remove_tree(tree.path, ())
    return common.move_steps(
        tree.draft,
        tree.path,
        purpose=f"Make it real: give it its name, {tree.path}",
        capture="tree",
        undo=tuple(undo.action for undo in removed),
        more=removed[0].only_if,
    )


# ZFS


def _clone(tree: Tree) -> tuple[Step, ...]:
    step = clone_step(
        tree.base.snapshot,
        tree.dataset,
        tree.path,
        tree.properties,
        purpose=f"Clone {tree.base.name}: it takes space only for what the jail changes",
    )
    return (step,)


def clone_step(
    snapshot: str,
    dataset: str,
    path: str,
    properties: Mapping[str, str],
    *,
    purpose: str,
    requires: tuple[Check, ...] = (),
    key: str = "tree",
) -> Step:
    """Clone a snapshot and mount it on `path`, all or nothing. `properties` hold the operation's id."""
    ours = checks.dataset_ours(dataset, properties[layout.OPERATION])
    discard = (Undo(Run((zfs.destroy(dataset),)), only_if=(ours,)),)
    return Step(
        key=key,
        purpose=purpose,
        action=Run((zfs.clone(snapshot, dataset, {**properties, "mountpoint": path}),)),
        done_when=(ours, checks.dataset_origin(dataset, snapshot), checks.mounted(path)),
        undo=discard,
        again=discard,
        requires=requires,
        seconds=120,
    )


def _copy(tree: Tree) -> tuple[Step, ...]:
    base, draft, discard = tree.base, tree.draft_dataset, tree.discard
    received = layout.snapshot_of(draft)
    ours = checks.dataset_ours(tree.dataset, tree.operation_id)
    marked = tuple(checks.dataset_property(draft, name, value) for name, value in tree.properties.items())
    at = {"mountpoint": tree.path}
    return (
        Step(
            key="copy",
            purpose=f"Copy {base.name}, under a name that nobody else has",
            action=Run((zfs.send(base.snapshot), zfs.receive(draft))),
            done_when=(checks.snapshot_exists(received),),
            undo=discard,
            again=discard,
            seconds=COPY_SECONDS,
        ),
        Step(
            key="mark",
            purpose="Mark it with what made it and which jail it is"
            + (", and give it its quota" if tree.quota else ""),
            action=Run((zfs.set_properties(draft, tree.properties),)),
            done_when=marked,
            undo=discard,
            seconds=60,
        ),
        Step(
            key="unpin",
            purpose="Drop the snapshot that came with it, which would keep what the jail deletes",
            action=Run((zfs.destroy(received),)),
            done_when=(checks.snapshot_absent(received),),
            undo=discard,
            seconds=120,
        ),
        Step(
            key="tree",
            purpose=f"Make it real: give it its name, {tree.dataset}",
            action=Run((zfs.rename(draft, tree.dataset),)),
            done_when=(ours,),
            undo=discard,
            seconds=120,
        ),
        Step(
            key="mount",
            purpose=f"Mount it on {tree.path}",
            action=Run((zfs.set_properties(tree.dataset, at),)),
            done_when=(checks.dataset_property(tree.dataset, "mountpoint", tree.path), checks.mounted(tree.path)),
            undo=discard,
            seconds=120,
        ),
    )


# UFS


def _unpack(tree: Tree) -> tuple[Step, ...]:
    draft, base = tree.draft, tree.base
    commands: tuple[Argv, ...]
    if base.storage == Storage.ZFS:
        # The snapshot is what is real; the tree beside it may just be being cleaned.
        real = f"{base.path}/.zfs/snapshot/{base.snapshot.partition('@')[2]}"
        commands = (tar.create(tar.STDIO, real), tar.extract(tar.STDIO, draft))
    else:
        commands = (tar.extract(f"{base.path}/{ARCHIVES[type(base)]}", draft),)
    make_folder = Run((files.make_directory(draft),))
    return (
        Step(
            key="draft",
            purpose="Make a folder for the tree, under a name that nobody else has",
            action=make_folder,
            done_when=(checks.directory_exists(draft),),
            undo=tree.discard,
            seconds=30,
        ),
        Step(
            key="unpack",
            purpose=f"Unpack {base.name}",
            action=Run(commands),
            undo=tree.discard,
            # What is half unpacked has files that tar(1) cannot replace.
            again=(*tree.discard, Undo(make_folder, only_if=(checks.path_absent(draft),))),
            seconds=UNPACK_SECONDS,
        ),
    )


# Preparing it


def prepare(tree: Tree, *, touched: bool) -> tuple[Step, ...]:
    """The host's resolver and time zone; in what is fresh from a release also an rc.conf, and no empty password."""
    if touched:
        return (_resolver_from_inside(tree),)
    copied = Step(
        key="configuration",
        purpose="Give it the resolver and the time zone of the host",
        action=Run((("sh", "-c", COPY_CONFIGURATION, "sh", names.require("path", tree.work, names.path_error)),)),
        undo=tree.discard,
        seconds=60,
    )
    return (copied, *(_defaults(tree) if isinstance(tree.base, Release) else ()))


def _defaults(tree: Tree) -> tuple[Step, ...]:
    write = WriteFile(f"{tree.work}/etc/rc.conf", RC_CONF)
    return (
        Step(
            key="rc.conf",
            purpose="Let it start only what a jail needs",
            action=write,
            done_when=(checks.file_has(write.path, write.content),),
            undo=tree.discard,
            seconds=30,
        ),
        Step(
            key="root",
            purpose="Let nobody become root by an empty password",
            action=Run((pw.forbid_password("root", root=tree.work),)),
            undo=tree.discard,
            seconds=60,
        ),
    )


def _resolver_from_inside(tree: Tree) -> Step:
    """Somebody else has had the tree: the host follows no path into it, and what runs in it has no network."""
    name = f"prepare-{tree.operation_id}"
    end = Undo(Run((jail.remove_unconfigured(name),)), only_if=(checks.is_not(checks.jail_absent(name)),))
    inside = jail.run_transient(name, tree.work, ("/bin/sh", "-c", WRITE_RESOLVER))
    return Step(
        key="configuration",
        purpose="Give it the resolver of the host, written from inside: in a jail of its own, without network",
        action=Run((("sh", "-c", SHOW_RESOLVER), inside)),
        undo=(end, *tree.discard),
        again=(end,),
        seconds=120,
    )


def size_of(base: Release | Template, referenced: int) -> int:
    """About how many bytes a copy takes; `referenced` is what ZFS says of the base, 0 for an archive."""
    packed_six_times = 6 if isinstance(base, Release) else 1
    return referenced or base.used * packed_six_times
