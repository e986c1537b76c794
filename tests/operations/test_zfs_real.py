"""The ZFS steps of the kinds of operation, run by the engine against real ZFS (zfs-fuse).

What a step types is for OpenZFS. `ZFS` below turns the few options that this old zfs(8) lacks into what it can do;
what is made, refused and left behind is real. Tools of FreeBSD other than zfs(8) are those of tests.operations.fakes.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from types import SimpleNamespace

import pytest

from jails.freebsd import mount, zfs
from jails.freebsd.command import Pipeline
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import CommandReader
from jails.models import Jail, Operation, Release, Template, Tenant
from jails.operations import (
    common,
    jail_destroy,
    jail_give,
    jail_rename,
    layout,
    template_create,
    template_publish,
    template_remove,
    trees,
)
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step
from tests.hosts.zfs_fuse import Pool, ZfsFuse
from tests.operations import fakes

pytestmark = pytest.mark.zfs
Status = Operation.Status

# rename -u and receive -u: it unmounts where OpenZFS leaves things be, and a file system of FUSE is busy for a moment
# after its umount(8). set: one property a time. clones: by origins.
ZFS = """\
zfs={zfs}
mounted() { $zfs get -H -o value mounted "$1" 2>/dev/null; }
# Again, for as long as it says that it is busy; what was done but for mounting is mounted. Prints what was said last.
patiently() {
    for wait in 0.1 0.2 0.4 0.8 1.6 3.2 6.4 6.4; do
        words=$($zfs "$@" 2>&1)
        r=$?
        case $1:$words in
        *"cannot unmount"*) break ;; # somebody is in there
        mount:*busy* | *"cannot rename"*busy*) sleep $wait ;;
        *"cannot mount"*busy*)
            for dataset in $(echo "$words" | sed -n "s/^cannot mount '\\([^']*\\)'.*/\\1/p"); do
                patiently mount "$dataset" || return
            done
            return ;;
        *busy*) sleep $wait ;;
        *) break ;;
        esac
    done
    [ -z "$words" ] || echo "$words" >&2
    return $r
}
case $1 in
rename)
    shift
    if [ "$1" = -u ]; then shift; fi
    case $1 in
    *@*)
        patiently rename "$@"
        exit ;;
    esac
    was=$(mounted "$1") at=$1
    [ "$was" = no ] || $zfs unmount "$1" || exit
    patiently rename "$@"
    renamed=$?
    [ $renamed -ne 0 ] || at=$2
    [ "$was" = no ] || patiently mount "$at" || exit
    exit $renamed ;;
receive)
    $zfs receive "$3" || exit
    if [ "$(mounted "$3")" = yes ]; then
        $zfs unmount "$3" && rmdir "$($zfs get -H -o value mountpoint "$3")"
    fi ;;
set)
    shift
    for dataset; do :; done
    while [ $# -gt 1 ]; do patiently set "$1" "$dataset" || exit; shift; done ;;
holds) # its own is a script in Python that is not installed: to hold it once more tells whether it is held
    words=$($zfs hold cellblock "$3" 2>&1)
    case $words in
    "") $zfs release cellblock "$3" ;;
    *"tag already exists"*) printf '%s\\tcellblock\\t-\\n' "$3" ;;
    *) echo "$words" >&2; exit 1 ;;
    esac ;;
mount | inherit | promote) patiently "$@" ;;
get)
    case " $* " in
    *" clones "*)
        $zfs list -H -t snapshot "$7" >/dev/null || exit
        $zfs list -H -t filesystem -o name,origin | while read -r name origin; do
            [ "$origin" != "$7" ] || echo "$name"
        done ;;
    *) exec $zfs "$@" ;;
    esac ;;
list)
    case " $* " in
    *" name,clones,userrefs "*)
        for dataset; do :; done
        $zfs list -H -d 1 -t snapshot -o name,userrefs "$dataset" | while read -r name held; do
            clones=$($zfs list -H -t filesystem -o name,origin | while read -r clone origin; do
                [ "$origin" != "$name" ] || printf %s, "$clone"
            done)
            printf '%s\\t%s\\t%s\\n' "$name" "${clones%,}" "$held"
        done ;;
    *) exec $zfs "$@" ;;
    esac ;;
*) exec $zfs "$@" ;;
esac
"""
MOUNT = """exec awk '{sub("fuse.", "", $3); printf "%s\\t%s\\t%s\\t%s\\t0 0\\n", $1, $2, $3, $4}' /proc/mounts"""
SHIMS = {"mount": MOUNT, "jls": "exit 1", "chflags": "exit 0", "fstat": "exit 1"}


class Steps(Kind):
    """Runs the steps that `make` gives for the id of its operation."""

    name = "steps"
    action = "host.setup"

    def title(self, parameters, host):
        return "Some steps"

    def clean(self, parameters):
        return dict(parameters)

    def plan(self, request: Request) -> Plan:
        return Plan(title="Some steps", steps=tuple(self.make(request.operation_id)))


FAIL = Step(key="fail", purpose="Do what cannot be done", action=Run((("false",),)))


class Ground:
    """A pool, a host with its tools, and the engine."""

    def __init__(self, folder, kind, host, user) -> None:
        self.folder, self.kind, self.host, self.user = folder, kind, host, user
        self.pool = Pool(folder)
        self.home = f"{self.pool.name}/cellblock"
        self.jails, self.templates = str(folder / "jail"), str(folder / "db/templates")
        self.shell = fakes.ShellHost(folder)
        real = shutil.which("zfs", path="/usr/sbin:/sbin:/usr/local/sbin")
        for name, text in (SHIMS | {"zfs": ZFS.replace("{zfs}", str(real))}).items():
            (self.shell.shims / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.shell.shims / name).chmod(0o755)

    def zfs(self, *words: str) -> str:
        return subprocess.run(("zfs", *words), check=True, capture_output=True, text=True).stdout.strip()

    def value(self, dataset: str, name: str) -> str:
        return self.zfs("get", "-H", "-o", "value", name, dataset)

    def names(self) -> list[str]:
        """All below POOL/cellblock, without it."""
        listed = self.zfs("list", "-H", "-r", "-t", "filesystem,snapshot", "-o", "name", self.pool.name).split()
        return sorted(name.removeprefix(f"{self.home}/") for name in listed if name.startswith(f"{self.home}/"))

    def facts(self) -> HostFacts:
        found = CommandReader(ZfsFuse(self.pool.name)).read()
        mounts = mount.parse(self.shell.run(Pipeline.of(("mount", "-p")), timeout=20).stdout)
        return HostFacts(zfs=True, pools=found.pools, datasets=found.datasets, snapshots=found.snapshots, mounts=mounts)

    def do(self, make, *more: Step) -> Operation:
        """`make` gives the steps for an operation's id."""
        from jails.operations import engine, lifecycle

        self.kind.make = lambda key: (*make(key), *more)
        draft = lifecycle.draft("steps", {}, host=self.host, user=self.user)
        operation = lifecycle.confirm(draft, draft.digest, user=self.user)
        timing = engine.Timing(heartbeat=3600, progress=3600, patience=0.2, poll=0.02, backoff=0.05, output=0)
        connect = {"connect": lambda row: self.shell, "gather": self.shell.gather}
        engine.run(operation.pk, worker="w1", timing=timing, **connect)
        operation.refresh_from_db()
        return operation

    def done(self, make) -> Operation:
        operation = self.do(make)
        assert operation.status == Status.DONE, operation.error
        return operation

    def parents(self, key: str) -> tuple[Step, ...]:
        tenant = common.ensure_tenant(self.host, self.pool.name, None, key)
        return (common.ensure_root(self.host, self.pool.name, key), tenant)

    def release(self) -> Release:
        """What a fetched release leaves."""
        self.done(self.parents)
        dataset = f"{self.home}/releases"
        self.zfs("create", "-o", f"mountpoint={self.folder}/release", dataset)
        (self.folder / "release/etc").mkdir()
        (self.folder / "release/etc/motd").write_text("from the release\n")
        self.zfs("snapshot", f"{dataset}@cellblock")
        return Release(
            host=self.host, name="14.2-RELEASE", architecture="amd64", storage="zfs", dataset=dataset,
            snapshot=f"{dataset}@cellblock", path=f"{self.folder}/release",
        )  # fmt: skip

    def tree(self, base, key: str, *, name: str = "www1", thin: bool = True) -> trees.Tree:
        marks = {layout.JAIL: str(uuid.uuid5(uuid.NAMESPACE_DNS, name))}
        return trees.Tree(base, key, f"{self.jails}/{name}", f"{self.home}/host/{name}", thin=thin, marks=marks)

    def jail(self, base, name: str = "www1", *, thin: bool = True) -> Jail:
        """One that jail_create's steps have made."""
        self.done(lambda key: trees.make(self.tree(base, key, name=name, thin=thin)))
        return Jail.objects.create(
            uuid=uuid.uuid5(uuid.NAMESPACE_DNS, name), host=self.host, name=name, kind="thin", storage="zfs",
            managed=True, path=f"{self.jails}/{name}", dataset=f"{self.home}/host/{name}", hostname=name,
        )  # fmt: skip

    def template(self, row: Jail, name: str = "web") -> Template:
        def make(key: str):
            request = Request(key, {"name": name, "tenant": None}, self.host, self.facts())
            return without_cleaning(template_create._on_zfs(request, row, "identity"))

        self.done(make)
        dataset = f"{self.home}/templates/{name}"
        return Template.objects.create(
            host=self.host, name=name, architecture="amd64", storage="zfs", dataset=dataset, state="ready",
            snapshot=f"{dataset}@cellblock", path=f"{self.templates}/{name}",
        )  # fmt: skip


def without_cleaning(steps):
    """Here are no jails: the tree stays as it is, except for what a test takes out."""
    return tuple(step for step in steps if step.key not in ("list", "clean", "quiet"))


@pytest.fixture
def ground(monkeypatch, tmp_path, host, admin, messages):
    from jails import policy
    from jails.operations import effects, kind, lifecycle

    wanted, real = Steps(), kind.get
    monkeypatch.setattr(kind, "get", lambda name: wanted if name == "steps" else real(name))
    monkeypatch.setitem(policy.ACTIONS_OF_OPERATIONS, "steps", "host.setup")
    monkeypatch.setattr(lifecycle, "facts_of", lambda host: fakes.FakeFacts())
    monkeypatch.setattr(effects, "LOCK_DIRECTORY", str(tmp_path / "locks"))
    (tmp_path / "jail").mkdir()
    (tmp_path / "db").mkdir()
    for module in (layout, template_create):
        monkeypatch.setattr(module, "TEMPLATES", str(tmp_path / "db/templates"))
    ground = Ground(tmp_path, wanted, host, admin)
    yield ground
    ground.pool.destroy()


# Parents


def test_parents_are_made_once_and_adopted(ground):
    operation = ground.done(ground.parents)
    assert ground.names() == ["host"]
    assert [ground.value(f"{ground.home}/host", name) for name in ("mountpoint", "canmount")] == ["none", "off"]
    assert ground.value(ground.home, "cellblock:operation") == str(operation.pk)
    again = ground.done(ground.parents)
    assert {step.status for step in again.steps.all()} == {"skipped"}


def test_parents_go_again_with_who_made_them_unless_something_is_in_them(ground):
    assert ground.do(ground.parents, FAIL).status == Status.FAILED
    assert ground.home not in ground.zfs("list", "-H", "-o", "name")
    ground.zfs("create", "-o", "mountpoint=none", ground.home)
    assert ground.do(ground.parents, FAIL).status == Status.FAILED
    assert ground.names() == [] and ground.value(ground.home, "cellblock:operation") == "-"


# Renaming


def rename(ground, row, to):
    def names(name):
        return jail_rename._Names(
            name, f"{ground.jails}/{name}", f"{ground.home}/host/{name}", f"/etc/{name}", f"/var/{name}"
        )

    def make(key):
        request = Request(key, {}, ground.host, ground.facts())
        return jail_rename._dataset_steps(request, row, names(row.name), names(to))

    return make


def test_renaming_moves_the_mount(ground):
    row = ground.jail(ground.release())
    ground.done(rename(ground, row, "www2"))
    assert "host/www2" in ground.names() and "host/www1" not in ground.names()
    assert (ground.folder / "jail/www2/etc/motd").exists() and not (ground.folder / "jail/www1").exists()


def test_renaming_is_undone(ground):
    row = ground.jail(ground.release())
    before = ground.names()
    assert ground.do(rename(ground, row, "www2"), FAIL).status == Status.FAILED
    assert ground.names() == before and (ground.folder / "jail/www1/etc/motd").exists()
    assert not (ground.folder / "jail/www2").exists()


def test_renaming_to_what_exists_is_refused_by_zfs(ground):
    row = ground.jail(ground.release())
    ground.zfs("create", "-o", "mountpoint=none", "-o", "made:by=hand", f"{ground.home}/host/www2")
    operation = ground.do(rename(ground, row, "www2"))
    assert operation.status == Status.FAILED and "already exists" in operation.error
    assert ground.value(f"{ground.home}/host/www2", "made:by") == "hand"
    assert (ground.folder / "jail/www1/etc/motd").exists()


def give(ground, row, tenant):
    def make(key):
        dataset = ground.facts().dataset(row.dataset)
        target = f"{ground.home}/{tenant.slug}/{row.name}"
        move = jail_give._Move(row, dataset, target)
        return (common.ensure_tenant(ground.host, ground.pool.name, tenant, key), *move.steps())

    return make


def test_giving_moves_it_under_the_tenant(ground):
    row = ground.jail(ground.release())
    ground.zfs("snapshot", f"{row.dataset}@mine")
    acme = Tenant.objects.create(slug="acme", name="Acme")
    ground.done(give(ground, row, acme))
    assert {"acme", "acme/www1", "acme/www1@mine"} <= set(ground.names())
    assert ground.value(f"{ground.home}/acme/www1", "cellblock:touched") == "yes"
    assert (ground.folder / "jail/www1/etc/motd").exists()


def test_giving_is_undone(ground):
    row = ground.jail(ground.release())
    before = ground.names()
    acme = Tenant.objects.create(slug="acme", name="Acme")
    assert ground.do(give(ground, row, acme), FAIL).status == Status.FAILED
    assert ground.names() == before and (ground.folder / "jail/www1/etc/motd").exists()
    assert ground.value(row.dataset, "cellblock:touched") == "-"


# Destroying


def destroy(ground, row):
    def make(key):
        facts = ground.facts()
        datasets = (facts.dataset(row.dataset), *facts.children(row.dataset))
        snapshots = tuple(one for dataset in datasets for one in facts.snapshots_of(dataset.name))
        found = SimpleNamespace(row=row, name=row.name)
        goes = jail_destroy._Goes(found, datasets, snapshots, "", None, False, "")
        return jail_destroy._dataset_steps(row, goes)

    return make


def test_a_jail_goes_with_its_snapshots_and_children(ground):
    row = ground.jail(ground.release())
    ground.zfs("snapshot", f"{row.dataset}@mine")
    ground.zfs("create", f"{row.dataset}/data")
    ground.done(destroy(ground, row))
    assert ground.names() == ["host", "releases", "releases@cellblock"]


def test_what_is_busy_stays_and_goes_later(ground):
    row = ground.jail(ground.release())
    holder = subprocess.Popen(["sleep", "600"], cwd=row.path)
    try:
        operation = ground.do(destroy(ground, row))
    finally:
        holder.kill()
        holder.wait()
    assert operation.status == Status.FAILED and "busy" in operation.error, operation.error
    assert (ground.folder / "jail/www1/etc/motd").exists()
    ground.done(destroy(ground, row))
    assert "host/www1" not in ground.names()


def test_what_has_clones_stays(ground):
    row = ground.jail(ground.release())
    ground.zfs("snapshot", f"{row.dataset}@mine")
    ground.zfs("clone", "-o", "mountpoint=none", f"{row.dataset}@mine", f"{ground.home}/byhand")
    operation = ground.do(destroy(ground, row))
    assert operation.status == Status.STUCK and "clones" in operation.error, operation.error
    assert {"byhand", "host/www1", "host/www1@mine"} <= set(ground.names())
    assert ground.value(f"{ground.home}/byhand", "origin") == f"{row.dataset}@mine"


# Templates


def test_a_template_does_not_depend_on_its_jail(ground):
    row = ground.jail(ground.release())
    (ground.folder / "jail/www1/etc/mine").write_text("mine\n")
    template = ground.template(row)
    assert ground.value(template.dataset, "origin") == "-"
    assert [name for name in ground.names() if name.startswith("templates") or "www1@" in name] == [
        "templates", "templates/web", "templates/web@cellblock",
    ]  # fmt: skip
    ground.done(destroy(ground, row))
    assert (ground.folder / "db/templates/web/etc/mine").read_text() == "mine\n"
    assert sorted(path.name for path in (ground.folder / "db/templates").iterdir()) == ["web"]


def test_a_template_that_failed_leaves_nothing(ground):
    row = ground.jail(ground.release())
    before = ground.names()

    def make(key):
        request = Request(key, {"name": "web", "tenant": None}, ground.host, ground.facts())
        return without_cleaning(template_create._on_zfs(request, row, "identity"))

    assert ground.do(make, FAIL).status == Status.FAILED
    assert ground.names() == before and list((ground.folder / "db").iterdir()) == []


def test_a_template_whose_name_exists_already(ground):
    row = ground.jail(ground.release())
    ground.template(row, "other")
    by_hand = f"{ground.home}/templates/web"
    before = ground.names()

    def make(key):
        request = Request(key, {"name": "web", "tenant": None}, ground.host, ground.facts())
        steps = without_cleaning(template_create._on_zfs(request, row, "identity"))
        create = Step(
            key="byhand",
            purpose="Somebody is quicker",
            action=Run((zfs.create(by_hand, {"mountpoint": "none", "made:by": "hand"}),)),
            changes=False,
        )
        at = [step.key for step in steps].index("name")
        return (*steps[:at], create, *steps[at:])

    operation = ground.do(make)
    assert operation.status == Status.FAILED and "already exists" in operation.error, operation.error
    assert ground.value(by_hand, "made:by") == "hand"
    assert ground.names() == sorted([*before, "templates/web"])


def publish(ground, template, *, take_out=""):
    """With a file taken out of the tree in place of the cleaning."""

    def make(key):
        request = Request(key, {}, ground.host, ground.facts())
        begin, *rest = without_cleaning(template_publish._on_zfs(request, template))
        clean = Step(key="clean", purpose="Clean", action=Run((("rm", f"{template.path}/{take_out}"),)), changes=False)
        return (begin, clean, *rest) if take_out else (begin, *rest)

    return make


def test_publishing_gives_new_jails_the_new_tree_and_keeps_the_old_for_clones(ground):
    row = ground.jail(ground.release())
    (ground.folder / "jail/www1/etc/secret").write_text("secret\n")
    template = ground.template(row)
    old = ground.jail(template, "old")
    operation = ground.done(publish(ground, template, take_out="etc/secret"))
    new = ground.jail(template, "new")
    assert (ground.folder / "jail/old/etc/secret").exists() and not (ground.folder / "jail/new/etc/secret").exists()
    before = f"templates/web@before-{operation.pk}"
    assert ground.value(old.dataset, "origin") == f"{ground.home}/{before}"
    assert ground.value(new.dataset, "origin") == template.snapshot
    ground.done(destroy(ground, old))
    assert before not in ground.names()


def test_publishing_without_clones_leaves_no_old_snapshot(ground):
    template = ground.template(ground.jail(ground.release()))
    ground.done(publish(ground, template))
    assert [name for name in ground.names() if name.startswith("templates/web@")] == ["templates/web@cellblock"]


def test_publishing_is_undone(ground):
    row = ground.jail(ground.release())
    (ground.folder / "jail/www1/etc/secret").write_text("secret\n")
    template = ground.template(row)
    before, made_by = ground.names(), ground.value(template.snapshot, "cellblock:operation")

    def make(key):
        steps = publish(ground, template)(key)
        return (*steps[:-1], FAIL)  # all but letting the old one go

    assert ground.do(make).status == Status.FAILED
    assert ground.names() == before and ground.value(template.snapshot, "cellblock:operation") == made_by


def remove(ground, template):
    def make(key):
        facts = ground.facts()
        return template_remove._on_zfs(template, facts, template_remove._datasets(template, ground.host, facts))

    return make


def test_removing_a_template(ground):
    row = ground.jail(ground.release())
    template = ground.template(row)
    ground.done(remove(ground, template))
    assert ground.names() == ["host", "host/www1", "releases", "releases@cellblock", "templates"]
    assert list((ground.folder / "db/templates").iterdir()) == []


def test_a_template_with_clones_or_children_is_not_removed(ground):
    template = ground.template(ground.jail(ground.release()))
    steps = remove(ground, template)("0")
    ground.zfs("clone", "-o", "mountpoint=none", template.snapshot, f"{ground.home}/byhand")
    operation = ground.do(lambda key: steps)
    assert operation.status == Status.FAILED and "has no clones" in operation.error, operation.error
    assert ground.value(template.dataset, "mounted") == "yes"
    with pytest.raises(Refused, match="there are clones of it"):
        remove(ground, template)("0")
    ground.zfs("destroy", f"{ground.home}/byhand")
    ground.zfs("create", "-o", "mountpoint=none", f"{template.dataset}/child")
    with pytest.raises(Refused, match="would go with it"):
        remove(ground, template)("0")
    # One that is made later than the plan: it stays, and what is left of the template with it.
    operation = ground.do(lambda key: steps)
    assert operation.status == Status.STUCK and "has children" in operation.error, operation.error
    assert "templates/web/child" in ground.names()


def test_a_template_that_is_busy_is_whole_and_goes_later(ground):
    template = ground.template(ground.jail(ground.release()))
    before = ground.names()
    holder = subprocess.Popen(["sleep", "600"], cwd=template.path)
    try:
        operation = ground.do(remove(ground, template))
    finally:
        holder.kill()
        holder.wait()
    assert operation.status == Status.FAILED and "busy" in operation.error, operation.error
    assert ground.names() == before
    ground.done(remove(ground, template))
