"""What jail_create plans from facts alone: no host, every command by its words."""

from dataclasses import replace
from types import MappingProxyType
from uuid import uuid4

import pytest

from jails.freebsd import ifconfig, mount
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset, Pool, Snapshot
from jails.models import Address, Jail, Network, Release, Template
from jails.operations import checks, common, jail_create
from jails.operations.kind import Refused, Request
from jails.operations.step import BootList, Run, WriteFile, plan_from_data, to_data

ID = "7b0d3f2e-0000-4000-8000-000000000000"
BASE = "zroot/cellblock/releases/14.2-RELEASE-amd64"
GIB = 1 << 30


def facts(**more):
    address = ifconfig.Address("inet", "192.0.2.2", 24)
    values = {
        "hostname": "warden1",
        "kernel": "14.2-RELEASE",
        "userland": "14.2-RELEASE-p1",
        "architecture": "amd64",
        "zfs": True,
        "pools": (Pool("zroot", "ONLINE", size=40 * GIB, used=GIB, available=39 * GIB),),
        "datasets": (Dataset("zroot", available=39 * GIB), Dataset(BASE, available=39 * GIB, referenced=GIB)),
        "snapshots": (Snapshot(f"{BASE}@cellblock", referenced=GIB),),
        "interfaces": (
            ifconfig.Interface("em0", ("UP",), 1500, addresses=(address,)),
            ifconfig.Interface("lo0", ("UP", "LOOPBACK"), 16384),
        ),
        "mounts": (mount.Mount("/dev/vtbd0", "/", "ufs", ("rw",)),),
        "space": (mount.Space("/dev/vtbd0", "/", 20 * GIB, GIB, 19 * GIB),),
        "names": {"/var/db/cellblock/releases": ("14.2-RELEASE-amd64",), "/etc/jail.conf.d": ()},
    }
    return HostFacts(**(values | more))


@pytest.fixture
def release(host):
    fields = {"storage": "zfs", "dataset": BASE, "snapshot": f"{BASE}@cellblock", "state": Release.State.READY}
    path = "/var/db/cellblock/releases/14.2-RELEASE-amd64"
    return Release.objects.create(host=host, name="14.2-RELEASE", architecture="amd64", path=path, **fields)


@pytest.fixture
def lan(db):
    return Network.objects.create(name="lan", cidr="192.0.2.0/24")


@pytest.fixture
def plan(host, release):
    def make(known=None, **more):
        wish = {"name": "www1", "kind": "thin", "storage": "zfs", "release": release.pk, **more}
        cleaned = jail_create.kind.clean(wish)
        return jail_create.kind.plan(Request(ID, MappingProxyType(cleaned), host, known or facts()))

    return make


def lines(plan, *tools):
    """The commands of the plan that begin with one of the tools."""
    found = [argv for step in plan.steps if isinstance(step.action, Run) for argv in step.action.argvs]
    return [" ".join(argv) for argv in found if argv[0] in tools]


UUID = jail_create.uuid_of(ID)


def test_a_thin_jail_is_one_clone(plan):
    assert lines(plan(), "zfs")[2:] == [
        f"zfs clone -o cellblock:operation={ID} -o cellblock:jail={UUID} -o cellblock:kind=thin "
        f"-o cellblock:touched=no -o cellblock:release=14.2-RELEASE-amd64 -o mountpoint=/jail/www1 "
        f"{BASE}@cellblock zroot/cellblock/host/www1"
    ]


def test_a_thick_jail_is_received_under_another_name_and_renamed(plan):
    draft = f"zroot/cellblock/host/www1.{ID}"
    assert lines(plan(kind="thick", limits={"quota": 4 * GIB}), "zfs")[2:] == [
        f"zfs send {BASE}@cellblock",
        f"zfs receive -u {draft}",
        f"zfs set cellblock:operation={ID} cellblock:jail={UUID} cellblock:kind=thick cellblock:touched=no "
        f"cellblock:release=14.2-RELEASE-amd64 quota={4 * GIB} {draft}",
        f"zfs destroy {draft}@cellblock",
        f"zfs rename {draft} zroot/cellblock/host/www1",
        "zfs set mountpoint=/jail/www1 zroot/cellblock/host/www1",
    ]


def test_a_jail_on_ufs_is_unpacked_under_another_name_and_renamed(plan, release):
    release.storage, release.dataset, release.snapshot = "ufs", "", ""
    release.save()
    made = plan(kind="thick", storage="ufs", known=facts(zfs=False, pools=(), datasets=(), snapshots=()))
    draft = f"/jail/.www1.{ID}"
    assert lines(made, "zfs") == []
    assert lines(made, "tar") == [f"tar --numeric-owner -xpf {release.path}/base.txz -C {draft}"]
    keys = [step.key for step in made.steps]
    assert keys.index("root") < keys.index("move-tree") < keys.index("file-www1") < keys.index("boot")


def test_a_file_a_start_and_a_boot_come_last_and_in_this_order(plan, lan):
    made = plan(start=True, boot=True, addresses=[{"network": lan.pk, "ip": "192.0.2.10"}])
    assert [step.key for step in made.steps[-4:]] == ["file-www1", "addresses", "start-www1", "boot"]
    write, _, start, boot = (step.action for step in made.steps[-4:])
    assert isinstance(write, WriteFile) and write.path == "/etc/jail.conf.d/www1.conf" and write.before is None
    assert write.mode == "0644" and UUID in write.content and "em0|192.0.2.10/32" in write.content
    assert start.argvs[0][-4:] == ("-f", "/etc/jail.conf.d/www1.conf", "-c", "www1") or "-q" in start.argvs[0]
    assert made.steps[-2].done_when == (checks.jail_running("www1", "/jail/www1"),)
    assert isinstance(boot, BootList) and boot.add == ("www1",)
    assert made.steps[-1].undo[0].action == BootList(destroyed=("www1",))


def test_where_the_folder_is_included_not_to_boot_needs_a_list(plan):
    known = facts(
        files={
            "/etc/rc.conf": 'jail_enable="YES"\n',
            "/etc/jail.conf": '.include "/etc/jail.conf.d/*.conf";\n',
            "/etc/jail.conf.d/db.conf": 'db { path = "/jail/db"; }\n',
        },
        names={**facts().names, "/etc/jail.conf.d": ("db.conf",)},
    )
    assert plan(known, boot=False).steps[-1].action.now[0] == "sysrc jail_list=db"
    assert plan(known, boot=True).steps[-1].action.now == ()


def test_the_same_wish_and_facts_give_the_same_bytes(plan, lan):
    wish = {"addresses": [{"network": lan.pk, "ip": "192.0.2.10"}], "start": True}
    one, two = plan(**wish), plan(**wish)
    assert one.digest() == two.digest() == plan_from_data(to_data(one)).digest()
    other = facts(pools=(replace(facts().pools[0], used=2 * GIB, available=38 * GIB),))
    assert plan(other, **wish).digest() == one.digest()


def test_its_own_row_and_address_do_not_stand_in_its_way(plan, lan, host):
    row = Jail.objects.create(host=host, name="www1", uuid=UUID, path="/jail/www1", state=Jail.State.PENDING)
    Address.objects.create(network=lan, ip="192.0.2.10", jail=row)
    plan(addresses=[{"network": lan.pk, "ip": "192.0.2.10"}])
    Jail.objects.update(uuid=uuid4())
    with pytest.raises(Refused):
        plan(addresses=[{"network": lan.pk, "ip": "192.0.2.10"}])
    with pytest.raises(Refused):
        plan(name="www2", addresses=[{"network": lan.pk, "ip": "192.0.2.10"}])


def test_the_interface_of_an_address(lan, host):
    wanted = [{"network": lan.pk, "ip": "192.0.2.10"}]
    two = (*facts().interfaces, ifconfig.Interface("em1", ("UP",), 1500))

    def interface(known=None):
        return common.resolve_addresses(host, known or facts(), wanted)[0].interface

    assert interface() == "em0"
    host.interface = "em1"
    with pytest.raises(Refused, match="em1, which warden1 does not have"):
        interface()
    assert interface(facts(interfaces=two)) == "em1"
    Network.objects.update(interface="em0")
    assert interface(facts(interfaces=two)) == "em0"


def test_what_could_not_be_read_is_not_taken_for_absent(plan):
    from jails.hosts.facts import Missing

    for section in ("jails", "files", "names", "zfs", "mounts", "interfaces", "identity"):
        with pytest.raises(Missing):
            plan(facts(missing={section: "it did not answer"}))


def test_a_template_of_a_newer_release_is_refused(plan, host, release):
    release.name = "14.3-RELEASE"
    release.save()
    template = Template.objects.create(
        host=host, name="base", architecture="amd64", storage="zfs", dataset=BASE, snapshot=f"{BASE}@cellblock",
        path="/x/base", state=Template.State.READY, release=release,
    )  # fmt: skip
    with pytest.raises(Refused) as refused:
        plan(release=None, template=template.pk)
    assert list(refused.value.errors) == ["template"]
