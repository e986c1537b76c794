"""What template_create and template_publish share: cleaning a tree from inside, and where a template is made.

A tree that a tenant has had is never walked by the host for what is in it: which files go is decided and done inside a
jail of its own on a copy, without network and with nothing mounted (jails.freebsd.cleaning). That jail runs the tree's
own sh as root, shut in as the tenant's jail was. What stays with the host are whole-tree tools that look at names and
types and follow nothing:

- zfs(8) copies blocks, not paths.
- `tar -c` of a tree whose jail does not run reads links as links. Nobody can swap a file for a link while it reads,
  for nothing runs in the tree (asked before and after) and its parent folder is root's alone.
- `tar -x` of what that tar wrote: its names are relative and without `..`, for they come from a walk. bsdtar besides
  refuses absolute names, `..`, and to write through a link, unless told to by -P. Files that run with their owner's
  rights become real in a folder that only root can enter.
- `chflags -R` and `rm -rf` follow no links, and with -x no mounts.

An archive made by the tree's own tar, inside, would be less safe: a tenant would have written what the host unpacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from jails.freebsd import cleaning, files, jail, names, tar, zfs
from jails.hosts.facts import HostFacts
from jails.models import Host, Jail, Operation, Template
from jails.operations import checks, common, layout, power
from jails.operations.kind import Refused
from jails.operations.step import Run, Step, Undo

CLEAN_SECONDS = 900
COPY_SECONDS = 4 * 3600
REMOVE_SECONDS = 1800

_QUIET = 'if jls -j "$1" jid 2>/dev/null; then echo "something in it goes on running" >&2; exit 1; fi'


def find(host: Host, key: int) -> Template:
    """Refused where this host has no such template."""
    row = Template.objects.select_related("tenant", "release", "host", "operation").filter(host=host, pk=key).first()
    if row is None:
        raise Refused({"template": f"{host.name} has no such template."})
    return row


def clean_jail(operation_id: str) -> str:
    """The name of the jail in which a tree is cleaned: nobody else has it."""
    return f"clean-{operation_id}"


def cleaning_steps(path: str, operation_id: str, extent: str, discard: Sequence[Undo]) -> tuple[Step, ...]:
    """List what is to go, take it away, and see that nothing keeps running. `discard` gives up the whole tree.

    The list is a step of its own: it is the same however often it is run, and so what it says is known even where a
    worker dies in the middle of the cleaning. Cleaning twice does no harm.
    """
    name = clean_jail(operation_id)
    end = Undo(Run((jail.remove_unconfigured(name),)), only_if=(checks.is_not(checks.jail_absent(name)),))
    what = "what two systems must not share" if extent == cleaning.IDENTITY else "what tells of those who had it"

    def inside(action: str) -> Run:
        return Run((jail.run_transient(name, path, cleaning.command(action, extent)),))

    return (
        Step(
            key="list",
            purpose=f"List {what}, from inside: in a jail of its own, without network",
            action=inside(cleaning.LIST),
            undo=(end,),
            again=(end,),
            seconds=CLEAN_SECONDS,
        ),
        Step(
            key="clean",
            purpose=f"Take away {what}, from inside",
            action=inside(cleaning.REMOVE),
            undo=(end, *discard),
            again=(end,),
            seconds=CLEAN_SECONDS,
        ),
        Step(
            key="quiet",
            purpose="See that nothing runs in it any more",
            action=Run((("sh", "-c", _QUIET, "sh", name),)),
            undo=(end,),
            seconds=30,
        ),
    )


def cleaned(operation: Operation) -> list[list[str]]:
    """What the listing step has said, for Template.cleaned."""
    output = operation.steps.filter(data__key="list").values_list("output", flat=True).get()
    return [[what, path] for what, path in cleaning.parse(output)]


def locks(host: Host, name: str, operation_id: str) -> tuple[str, ...]:
    """Of the template, and of the jail in which it is cleaned: so a refresh takes that for nobody's."""
    return (layout.template_lock(host, name), layout.jail_lock(host, clean_jail(operation_id)))


def work_mount_step(dataset: str, path: str) -> Step:
    """Mount a draft at a path that has the operation's id: whatever is mounted there is this operation's."""
    unmounted = checks.unmounted(path)
    return Step(
        key="mount",
        purpose="Mount it where only root can enter",
        action=Run((zfs.mount(dataset),)),
        done_when=(checks.mounted(path),),
        undo=(
            Undo(Run((zfs.unmount(dataset),)), only_if=(checks.mounted(path),)),
            Undo(Run((files.remove_directory(path),)), only_if=(checks.directory_empty(path), unmounted)),
        ),
        seconds=60,
    )


def work_unmount_steps(dataset: str, path: str, discard: Sequence[Undo]) -> tuple[Step, ...]:
    """Unmount it, which proves that nothing in it runs, and remove the folder that ZFS made to mount it on."""
    return (
        Step(
            key="unmount",
            purpose="Unmount it",
            action=Run((zfs.unmount(dataset),)),
            done_when=(checks.unmounted(path),),
            undo=tuple(discard),
            seconds=60,
            attempts=3,
        ),
        Step(
            key="folder",
            purpose="Remove the folder it was mounted on",
            action=Run((files.remove_directory(path),)),
            done_when=(checks.path_absent(path),),
            undo=tuple(discard),
            ensure=True,
            seconds=30,
        ),
    )


# On UFS: a folder with the operation's id in its name, that holds the tree while it is worked on


class Draft:
    """DIRECTORY/.NAME.ID, with `tree` in it and at the end `tree.tar`."""

    def __init__(self, host: Host, name: str, operation_id: str) -> None:
        self.host, self.operation_id = host, operation_id
        self.folder = layout.draft_path(layout.template_path(name), operation_id)
        self.tree = f"{self.folder}/tree"
        self.archive = f"{self.folder}/tree.tar"

    @property
    def discard(self) -> tuple[Undo, ...]:
        return common.remove_tree(self.folder, (checks.path_exists(self.folder),))

    def make_steps(self) -> tuple[Step, ...]:
        return (
            Step(
                key="draft",
                purpose="Make a folder to work in, that only root can enter",
                action=Run((files.make_directory(self.folder, mode="0700"),)),
                done_when=(checks.directory_exists(self.folder),),
                undo=self.discard,
                seconds=30,
            ),
            Step(
                key="tree",
                purpose="Make a folder for the tree",
                action=Run((files.make_directory(self.tree, mode="0755"),)),
                done_when=(checks.directory_exists(self.tree),),
                undo=self.discard,
                seconds=30,
            ),
        )

    def fill_step(self, purpose: str, action: Run) -> Step:
        """Unpack into the tree. What is half unpacked has files that tar(1) cannot replace: it starts anew."""
        empty = Run((files.make_directory(self.tree, mode="0755"),))
        return Step(
            key="copy",
            purpose=purpose,
            action=action,
            undo=self.discard,
            again=(
                *common.remove_tree(self.tree, (checks.path_exists(self.tree),)),
                Undo(empty, only_if=(checks.path_absent(self.tree),)),
            ),
            seconds=COPY_SECONDS,
        )

    def pack_steps(self) -> tuple[Step, ...]:
        """The tree becomes an archive, and goes."""
        return (
            Step(
                key="pack",
                purpose="Pack the tree",
                action=Run((tar.create(self.archive, self.tree),)),
                undo=self.discard,
                seconds=COPY_SECONDS,
                progress=self.archive,
            ),
            Step(
                key="flags",
                purpose="Take the flags off the tree that not even root may remove files with",
                action=Run((files.clear_flags(self.tree),)),
                undo=self.discard,
                seconds=REMOVE_SECONDS,
            ),
            Step(
                key="unpacked",
                purpose="Remove the tree",
                action=Run((files.remove_tree(self.tree),)),
                done_when=(checks.path_absent(self.tree),),
                undo=self.discard,
                seconds=REMOVE_SECONDS,
            ),
        )


# Whether a jail can be copied


def require_stopped(row: Jail, facts: HostFacts, field: str) -> None:
    """Raises Refused: what runs changes while it is copied, and its tree must not be read from outside meanwhile."""
    live = facts.jail(row.name)
    if live is not None and live.dying:
        raise Refused({field: f"{row.name} is still dying: try again in a moment."})
    if live is not None:
        raise Refused({field: f"{row.name} runs: stop it first."})
    others = sorted(one.name for one in facts.jails if one.path == row.path)
    if others:
        raise Refused({field: f"{', '.join(others)} runs in {row.path}: stop it first."})


def require_own_dataset(row: Jail, facts: HostFacts, field: str) -> None:
    """Raises Refused where the dataset is not what the panel made for this jail."""
    dataset, problem = power.own_dataset(row, facts)
    if dataset is None:
        raise Refused({field: problem})
    if dataset.mountpoint != row.path or dataset.jailed or dataset.name in facts.doubtful:
        raise Refused({field: f"{dataset.name} is not as Cellblock made it for {row.path}: look at it on the host."})


def require_own_template(row: Template, facts: HostFacts) -> None:
    """Raises Refused where the dataset of a template is there, and is not what the panel made."""
    dataset = facts.dataset(row.dataset)
    if dataset is None:
        return
    is_marked = bool(dataset.operation) and dataset.marks.get("cellblock:template") == row.name
    if not is_marked or dataset.name in facts.doubtful or dataset.mountpoint != row.path:
        raise Refused({"template": f"{row.dataset} is not as Cellblock made it: look at it on {row.host.name}."})


def require_names(field: str, *snapshots: str) -> None:
    for snapshot in snapshots:
        if problem := names.snapshot_error(snapshot):
            raise Refused({field: f"{snapshot} {problem}"})
