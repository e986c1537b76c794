"""Creating jails on a simulated host, from real facts through the real engine: what is there then, and what is not."""

import pytest

from jails.hosts.simulated import mirror
from jails.models import (
    Address,
    AuditEntry,
    Jail,
    ObservedAddress,
    Operation,
    Release,
    Template,
    Tenant,
    TrustedManifest,
)
from jails.operations import jail_create, jailfile, layout, lifecycle, release_fetch
from jails.operations.kind import Refused
from tests.operations.meddling import Meddling
from tests.operations.world import World, network, transcript

Status = Operation.Status
DATASET = "zroot/cellblock/host/www1"
CONF = "/etc/jail.conf.d/www1.conf"


@pytest.fixture(params=["thick", "thin", "ufs"])
def form(request):
    """(world, parameters) of each of the three forms of a jail."""
    world = request.getfixturevalue("ufs_stocked" if request.param == "ufs" else "stocked")
    return world, {"kind": "thin" if request.param == "thin" else "thick"}


def refused(world, **more):
    """The fields at which a wish is refused."""
    with pytest.raises(Refused) as error:
        world.draft("jail_create", **world.wish(**more))
    assert all(error.value.errors.values())
    return list(error.value.errors)


# What comes of it


def test_a_jail_that_runs_and_boots(form):
    world, wish = form
    jail = world.made(**wish, addresses=world.at("192.0.2.10"), start=True, boot=True, hostname="www.example.org")
    assert (jail.state, jail.kind, jail.path) == (Jail.State.RUNNING, wish["kind"], "/jail/www1")
    assert jail.managed and jail.touched and jail.boot and jail.hostname == "www.example.org"
    assert jail.release == world.release and jail.config_path == CONF
    assert world.running() == {"www1": "/jail/www1"} and world.addresses() == ["192.0.2.10"]
    assert world.facts().boot_state().boots_today == ("www1",)
    assert (world.list("/jail"), world.mode("/jail"), world.mode("/jail/www1")) == (["www1"], "700", "755")
    address = Address.objects.get()
    assert (address.ip, address.jail, address.interface, address.prefix) == ("192.0.2.10", jail, "em0", 32)
    assert address.operation is None


def test_its_file_is_complete_and_says_whose_it_is(form):
    world, wish = form
    jail = world.made(**wish, addresses=world.at("192.0.2.10"))
    assert world.read(CONF) == (
        "# www1: managed by Cellblock. What is changed here by hand is shown as drift and kept.\n"
        f"# uuid: {jail.uuid}\n"
        f"{'# from: release 14.2-RELEASE-amd64' + chr(10) if jail.storage == 'ufs' else ''}"
        "www1 {\n"
        "\tpath = /jail/www1;\n"
        "\thost.hostname = www1;\n"
        "\tip4.addr = em0|192.0.2.10/32;\n"
        "\tip6 = disable;\n"
        "\tpersist;\n"
        "\texec.clean;\n"
        '\texec.start = "/bin/sh /etc/rc";\n'
        '\texec.stop = "/bin/sh /etc/rc.shutdown";\n'
        "\texec.consolelog = /var/log/cellblock/www1.log;\n"
        "\texec.timeout = 120;\n"
        "\tstop.timeout = 30;\n"
        "\tmount.devfs;\n"
        "\tdevfs_ruleset = 4;\n"
        "\tenforce_statfs = 2;\n"
        "}\n"
    )
    assert jailfile.JailFile("www1", str(jail.uuid), "/jail/www1", "www1").text() != world.read(CONF)


def test_a_jail_that_is_neither_started_nor_at_boot(form):
    world, wish = form
    rc_conf = world.read("/etc/rc.conf")
    jail = world.made(**wish)
    assert jail.state == Jail.State.STOPPED and not jail.touched and not jail.boot
    assert world.running() == {} and world.read("/etc/rc.conf") == rc_conf
    world.refresh()
    jail.refresh_from_db()
    assert jail.state == Jail.State.STOPPED


def test_service_jail_knows_it(form):
    world, wish = form
    world.made(**wish)
    world.sh("service jail onestart www1")
    assert world.running() == {"www1": "/jail/www1"}
    world.sh("service jail onestop www1")
    assert world.running() == {}


def test_what_is_fresh_is_prepared(form):
    world, wish = form
    world.made(**wish)
    assert world.read("/jail/www1/etc/resolv.conf") == "nameserver 192.0.2.53\n"
    assert 'sendmail_enable="NONE"' in world.read("/jail/www1/etc/rc.conf")
    root = next(line for line in world.read("/jail/www1/etc/master.passwd").splitlines() if line.startswith("root:"))
    assert root.split(":")[1] == "*"
    assert "schg" in world.simulation.run("ls", "-lod", "/jail/www1/sbin/init")


def test_a_host_without_a_resolver(stocked):
    stocked.sh("rm /etc/resolv.conf")
    stocked.made()
    assert not stocked.exists("/jail/www1/etc/resolv.conf")


def test_thick_is_a_dataset_of_its_own(stocked):
    jail = stocked.made()
    assert (jail.dataset, jail.origin, stocked.value(DATASET, "origin")) == (DATASET, "", "-")
    assert stocked.value(DATASET, "mountpoint") == "/jail/www1"
    assert stocked.value(DATASET, "cellblock:jail") == str(jail.uuid)
    assert stocked.value(DATASET, "cellblock:operation") == str(jail.operations.get().pk)
    assert [name for name in stocked.datasets() if "www1" in name] == [DATASET]
    stocked.sh(f"zfs destroy {stocked.release.snapshot}")


def test_thin_is_a_clone_of_the_release(stocked):
    jail = stocked.made(kind="thin")
    assert jail.origin == stocked.release.snapshot == stocked.value(DATASET, "origin")
    assert stocked.value(DATASET, "cellblock:jail") == str(jail.uuid)
    assert [row.name for row in stocked.facts().clones_of(stocked.release.snapshot)] == [DATASET]


@pytest.mark.parametrize("kind", ["thick", "thin"])
def test_a_quota(stocked, kind):
    jail = stocked.made(kind=kind, limits={"quota": 1 << 30})
    assert stocked.value(DATASET, "quota") == str(1 << 30) and jail.limits["quota"] == 1 << 30


def test_limits_are_in_its_file(stocked):
    stocked.made(limits={"children_max": 2, "securelevel": 1, "enforce_statfs": 1})
    text = stocked.read(CONF)
    assert "children.max = 2;" in text and "securelevel = 1;" in text and "enforce_statfs = 1;" in text


def test_both_families_of_addresses(stocked):
    network("six", "2001:db8::/64")
    six = network("six", "2001:db8::/64")
    jail = stocked.made(
        addresses=[*stocked.at("192.0.2.10"), {"network": six.pk, "ip": "2001:DB8:0:0::10"}], start=True
    )
    assert stocked.addresses() == ["192.0.2.10", "2001:db8::10"]
    assert set(jail.addresses.values_list("ip", "prefix")) == {("192.0.2.10", 32), ("2001:db8::10", 128)}


def test_for_a_tenant(stocked):
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    jail = stocked.made(tenant=tenant.pk)
    assert jail.tenant == tenant and jail.touched and jail.dataset == "zroot/cellblock/acme/www1"
    assert stocked.value("zroot/cellblock/acme", "mountpoint") == "none" and jail.operations.get().tenant == tenant


def test_a_jail_on_ufs_of_a_host_with_zfs(stocked):
    jail = stocked.made(storage="ufs", start=True)
    assert (jail.dataset, jail.storage) == ("", "ufs") and stocked.running() == {"www1": "/jail/www1"}
    assert "schg" in stocked.simulation.run("ls", "-lod", "/jail/www1/sbin/init")


def test_it_is_listed_while_it_is_made(stocked):
    operation = stocked.confirm("jail_create", **stocked.wish(addresses=stocked.at("192.0.2.10")))
    jail = operation.jails.get()
    assert (jail.state, jail.name, operation.subject) == (Jail.State.PENDING, "www1", "www1")
    stocked.refresh()
    assert Jail.objects.get().state == Jail.State.PENDING
    lifecycle.cancel(operation, user=stocked.user)
    assert not Jail.objects.exists() and not Address.objects.exists()


def test_the_same_wish_gives_the_same_plan(stocked):
    operation = stocked.draft("jail_create", **stocked.wish(addresses=stocked.at("192.0.2.10"), boot=True))
    again = lifecycle._plan(operation, jail_create.kind)
    assert again.digest() == operation.digest
    words = " ".join(operation.plan["summary"])
    assert "192.0.2.10 on em0" in words and DATASET in words
    assert len(operation.plan["summary"]) <= 3


def test_each_step_says_what_it_is_for_and_how_it_is_undone(form):
    world, wish = form
    operation = world.draft("jail_create", **world.wish(**wish, addresses=world.at("192.0.2.10"), start=True))
    for step in operation.plan["steps"]:
        assert step["purpose"] and step["seconds"]
        assert step["undo"] or not step["changes"], step["purpose"]
        for undo in step["undo"]:
            assert undo["only_if"] or undo["action"]["kind"] == "boot", step["purpose"]


def test_it_is_audited(stocked):
    operation = stocked.made().operations.get()
    entry = AuditEntry.objects.get(operation=str(operation.pk), action="jail.create")
    assert entry.outcome == "done" and entry.plan_digest == operation.confirmed_digest


# From templates


def template_on_zfs(world, **fields):
    """One whose tree somebody has had: its resolv.conf leads out of it, as long as one is outside."""
    dataset = "zroot/cellblock/templates/base"
    world.sh(
        "zfs create -o mountpoint=/var/db/cellblock/templates -o canmount=off zroot/cellblock/templates;"
        f"zfs clone {world.release.snapshot} {dataset};"
        f"ln -s /etc/precious /var/db/cellblock/templates/base/etc/resolv.conf; zfs snapshot {dataset}@cellblock;"
        "echo precious >/etc/precious"
    )
    values = {"storage": "zfs", "dataset": dataset, "snapshot": f"{dataset}@cellblock", "release": world.release}
    return make_template(world, **values, **fields)


def template_on_ufs(world, **fields):
    world.sh(
        "mkdir -p /tmp/t /var/db/cellblock/templates/base; tar -xpf /mirror/amd64/14.2-RELEASE/base.txz -C /tmp/t;"
        "ln -s /etc/precious /tmp/t/etc/resolv.conf; tar -cf /var/db/cellblock/templates/base/tree.tar -C /tmp/t .;"
        "chflags -R noschg /tmp/t; rm -rf /tmp/t; echo precious >/etc/precious"
    )
    return make_template(world, storage="ufs", used=1000, release=world.release, **fields)


def make_template(world, **fields):
    path = "/var/db/cellblock/templates/base"
    return Template.objects.create(
        host=world.row, name="base", architecture="amd64", path=path, state=Template.State.READY, **fields
    )


@pytest.mark.parametrize("sort", ["thick", "thin", "ufs"])
def test_what_somebody_has_had_is_prepared_from_inside(request, sort):
    world = request.getfixturevalue("ufs_stocked" if sort == "ufs" else "stocked")
    template = (template_on_ufs if sort == "ufs" else template_on_zfs)(world)
    kind = "thin" if sort == "thin" else "thick"
    operation = world.done("jail_create", **world.wish(kind=kind, release=None, template=template.pk))
    jail = operation.jails.get()
    assert jail.touched and jail.template == template and jail.release == world.release
    assert world.read("/etc/precious") == "precious\n"
    assert world.read("/jail/www1/etc/resolv.conf") == "nameserver 192.0.2.53\n"
    assert not world.exists("/jail/www1/etc/rc.conf") and world.running() == {}
    step = operation.steps.get(data__key="configuration").data["action"]
    assert step["argvs"][1][:2] == ["jail", "-c"] and "ip4=disable" in step["argvs"][1]


def test_a_tree_in_which_nothing_runs_is_given_up(stocked):
    template = template_on_zfs(stocked)
    stocked.sh(
        "zfs destroy zroot/cellblock/templates/base@cellblock; rm -f /var/db/cellblock/templates/base/bin/sh;"
        "zfs snapshot zroot/cellblock/templates/base@cellblock"
    )
    stocked.done("host_setup", reserve=False)
    before = stocked.picture()
    stocked.undone("jail_create", **stocked.wish(release=None, template=template.pk))
    assert stocked.picture() == before and not Jail.objects.exists()


def test_a_template_is_for_whom_it_is(stocked):
    acme, other = (Tenant.objects.create(slug=slug, name=slug) for slug in ("acme", "other"))
    template = template_on_zfs(stocked)
    wish = {"release": None, "template": template.pk}
    assert refused(stocked, **wish, tenant=acme.pk) == ["template"]
    template.tenant = acme
    template.save()
    stocked.draft("jail_create", **stocked.wish(**wish, tenant=acme.pk))
    assert refused(stocked, **wish) == refused(stocked, **wish, tenant=other.pk) == ["template"]


# Boot: what else starts stays as it is


HANDMADE = 'byhand { path = "/byhand"; exec.start = "/bin/sh /etc/rc"; exec.stop = ""; persist; }\n'
INCLUDE = '.include "/etc/jail.conf.d/*.conf";\n'


def boots(world):
    return world.facts().boot_state().boots_today


@pytest.mark.parametrize("at_boot", [True, False])
@pytest.mark.parametrize(
    ("rc_conf", "jail_conf", "own"),
    [
        ('jail_enable="YES"\njail_list="byhand"\n', HANDMADE, ""),
        ('jail_enable="YES"\njail_list="byhand"\n', "", HANDMADE),
        ('jail_enable="YES"\n', HANDMADE, ""),
        ('jail_enable="YES"\n', INCLUDE, HANDMADE),
        ('jail_enable="YES"\n', HANDMADE + INCLUDE, ""),
    ],
    ids=["list", "list and file", "all", "folder", "all and folder"],
)
def test_a_jail_made_by_hand_still_boots(stocked, rc_conf, jail_conf, own, at_boot):
    world = stocked
    world.sh('zfs create -o mountpoint=/byhand zroot/byhand; printf %s "$1" >>/etc/rc.conf', rc_conf)
    world.sh("tar -xpf /mirror/amd64/14.2-RELEASE/base.txz -C /byhand")
    if jail_conf:
        world.write("/etc/jail.conf", jail_conf)
    if own:
        world.write("/etc/jail.conf.d/byhand.conf", own)
    assert boots(world) == ("byhand",)
    world.made(boot=at_boot)
    assert set(boots(world)) == {"byhand", "www1"} if at_boot else boots(world) == ("byhand",)
    world.simulation.command("--reboot")
    assert set(world.running()) == ({"byhand", "www1"} if at_boot else {"byhand"})


def test_the_plan_shows_both_lists(stocked):
    stocked.sh("sysrc -q jail_enable=YES jail_list=byhand")
    operation = stocked.draft("jail_create", **stocked.wish(boot=True))
    assert operation.plan["steps"][-1]["action"]["now"] == [
        "sysrc 'jail_list=byhand www1'",
        "# starts at boot today: byhand",
        "# starts at boot then: byhand www1",
    ]


def test_where_boot_cannot_be_told_it_is_left_alone_and_said(stocked):
    stocked.write("/etc/rc.conf.d/jail", 'jail_list="$(cat /etc/list)"\n')
    assert refused(stocked, boot=True) == ["boot"]
    operation = stocked.done("jail_create", **stocked.wish(boot=False))
    assert "cannot be told" in operation.plan["warnings"][0]


# What cannot be


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("zfs create -p -o mountpoint=none zroot/cellblock/host/www1", "name"),
        ("mkdir -p /jail/www1", "name"),
        ("ln -s /nowhere /jail/www1", "name"),
        ("echo '# kept' >/etc/jail.conf.d/www1.conf", "name"),
        ("echo '# kept' >/etc/jail.www1.conf", "name"),
        ("echo 'www1 { path = /x; }' >/etc/jail.conf", "name"),
        ("echo 'www1 { path = /x; }' >/etc/jail.conf.d/other.conf", "name"),
        ("jail -c name=www1 path=/ persist", "name"),
        ("ifconfig em0 inet 192.0.2.10/32 alias", "addresses"),
        ("jail -c name=other path=/ persist ip4.addr=192.0.2.10", "addresses"),
        ("echo 'other { path = /x; ip4.addr = \"em0|192.0.2.10/24\"; }' >/etc/jail.conf.d/other.conf", "addresses"),
    ],
)
def test_what_the_host_has_already_is_refused(stocked, text, field):
    stocked.sh(f"mkdir -p /jail; {text}")
    assert refused(stocked, addresses=stocked.at("192.0.2.10")) == [field]


@pytest.mark.parametrize("other", ["www_1", "www-1"])
def test_a_name_that_rc_conf_cannot_tell_from_another_is_refused(stocked, other):
    stocked.made(name=other)
    assert refused(stocked, name="www-1" if other == "www_1" else "www_1") == ["name"]


def test_a_name_or_an_address_of_a_jail_of_the_panel_is_refused(stocked):
    stocked.confirm("jail_create", **stocked.wish(addresses=stocked.at("192.0.2.10")))
    assert refused(stocked) == ["name"]
    assert refused(stocked, name="www2", addresses=stocked.at("192.0.2.10")) == ["addresses"]


@pytest.mark.parametrize("ip", ["192.0.2.0", "192.0.2.255", "198.51.100.7", "192.0.2.2", "2001:db8::7"])
def test_addresses_that_a_jail_of_this_network_cannot_have(stocked, ip):
    assert refused(stocked, addresses=stocked.at(ip)) == ["addresses"]


def test_an_address_that_another_host_has_in_the_same_network_is_refused(stocked, ufs_world):
    ObservedAddress.objects.create(host=ufs_world.row, ip="192.0.2.77", interface="em0")
    assert refused(stocked, addresses=stocked.at("192.0.2.77")) == ["addresses"]
    private = network("private", "192.0.2.0/24", host=stocked.row)
    stocked.draft("jail_create", **stocked.wish(addresses=[{"network": private.pk, "ip": "192.0.2.77"}]))
    theirs = network("theirs", "192.0.2.0/24", host=ufs_world.row)
    assert refused(stocked, addresses=[{"network": theirs.pk, "ip": "192.0.2.78"}]) == ["addresses"]
    assert refused(stocked, addresses=[{"network": 999, "ip": "192.0.2.78"}]) == ["addresses"]


def test_the_interface_of_an_address(stocked):
    loop = network("loop", "10.9.0.0/24", interface="lo1")
    wish = stocked.wish(addresses=[{"network": loop.pk, "ip": "10.9.0.5"}], start=True)
    with pytest.raises(Refused, match="lo1, which warden1 does not have"):
        stocked.draft("jail_create", **wish)
    stocked.sh("ifconfig lo1 create; ifconfig lo1 up")
    stocked.done("jail_create", **wish)
    assert Address.objects.get().interface == "lo1"
    stocked.row.interface = ""
    stocked.row.save()
    stocked.made(name="www2", addresses=stocked.at("192.0.2.20"))
    assert Address.objects.get(ip="192.0.2.20").interface == "em0"


def test_a_release_newer_than_the_host_is_refused(stocked):
    Release.objects.update(name="14.3-RELEASE")
    assert refused(stocked) == ["release"]


def test_another_architecture_is_refused(stocked):
    Release.objects.update(architecture="arm64")
    assert refused(stocked) == ["release"]


def test_a_release_that_is_gone_or_not_ready_is_refused(stocked, ufs_world):
    stocked.refresh()
    for state in (Release.State.PENDING, Release.State.REMOVING, Release.State.MISSING):
        Release.objects.update(state=state)
        with pytest.raises(Refused, match="cannot be used"):
            lifecycle.draft("jail_create", stocked.wish(), host=stocked.row, user=stocked.user)
    Release.objects.update(state=Release.State.READY, snapshot="zroot/nothing@cellblock")
    with pytest.raises(Refused, match="is gone from warden1"):
        lifecycle.draft("jail_create", stocked.wish(), host=stocked.row, user=stocked.user)
    Release.objects.update(host=ufs_world.row)
    assert refused(stocked) == ["release"]


def test_a_release_that_goes_between_plan_and_confirmation_is_refused(stocked):
    operation = stocked.draft("jail_create", **stocked.wish())
    Release.objects.update(state=Release.State.REMOVING)
    with pytest.raises(Refused):
        lifecycle.confirm(operation, operation.digest, user=stocked.user)
    assert not Jail.objects.exists()


@pytest.mark.parametrize("kind", ["thick", "thin"])
def test_too_little_space_is_refused(stocked, kind):
    free = stocked.facts().free_bytes("zroot")
    stocked.sh(f"zfs create -o mountpoint=none -o reservation={free - (50 << 20)} zroot/full")
    assert refused(stocked, kind=kind) == ["storage"]


def test_too_little_space_on_ufs_is_refused(ufs_stocked):
    Release.objects.update(used=4 << 30)  # packed, of a disk of 20 GB
    assert refused(ufs_stocked) == ["storage"]


def test_a_quota_that_it_would_not_fit_in_is_refused(stocked):
    assert refused(stocked, limits={"quota": 5 << 20}) == ["quota"]


def test_the_quota_of_a_tenant_counts(stocked):
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    stocked.done("host_setup", reserve=False)
    stocked.sh("zfs create -o mountpoint=none -o quota=8M zroot/cellblock/acme")
    assert refused(stocked, tenant=tenant.pk) == ["storage"]


def test_what_ufs_cannot_do_is_refused(ufs_stocked):
    world = ufs_stocked
    assert refused(world, kind="thin") == ["kind"]
    assert refused(world, storage="zfs") == ["storage"]
    assert refused(world, limits={"quota": 1 << 30}) == ["quota"]


def test_tenants_that_are_not(stocked):
    archived = Tenant.objects.create(slug="gone", name="Gone", archived_at="2026-01-01T00:00:00Z")
    assert refused(stocked, tenant=archived.pk) == refused(stocked, tenant=999) == ["tenant"]


def test_only_administrators_widen(stocked):
    assert jail_create.kind.widens(stocked.row, {"limits": {"children_max": 1, "enforce_statfs": 2}}) == [
        "children.max"
    ]
    assert jail_create.kind.widens(stocked.row, {"limits": {"children_max": 0, "enforce_statfs": 1}}) == [
        "enforce_statfs"
    ]
    assert (
        jail_create.kind.widens(stocked.row, {"limits": {"children_max": 0, "enforce_statfs": 2, "securelevel": 3}})
        == []
    )


HOSTILE = [
    "x; rm -rf /", "$(id)", "`id`", "a\nb", "a\0b", "..", "../etc", "a/b", "a b", "a'b", 'a"b', "a{b", "a;b", "a=b",
    "a*", "a@b",
    "a#b", "a,b", "-a", "a.b", "123", "x" * 256, "wwаw", "www\u200b1", "\u202ewww", "ｗｗｗ", 7, True, [], {},
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
@pytest.mark.parametrize("field", ["name", "kind", "storage"])
def test_hostile_values_are_refused_by_name(field, value):
    with pytest.raises(Refused) as error:
        jail_create.kind.clean({**WISH, field: value})
    assert field in error.value.errors


@pytest.mark.parametrize("value", [value for value in HOSTILE if value not in ("a.b", "123")], ids=ascii)
def test_hostile_hostnames_are_refused(value):
    with pytest.raises(Refused) as error:
        jail_create.kind.clean({**WISH, "hostname": value})
    assert list(error.value.errors) == ["hostname"]


WISH = {"name": "www1", "kind": "thick", "storage": "zfs", "release": 1}


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("release", "1; drop", "release"),
        ("release", None, "release"),
        ("release", 2**70, "release"),
        ("template", 1, "template"),
        ("template", "x", "template"),
        ("boot", "yes", "boot"),
        ("start", 1, "start"),
        ("tenant", "acme", "tenant"),
        ("tenant", -1, "tenant"),
        ("addresses", "192.0.2.1", "addresses"),
        ("addresses", [{"network": 1}], "addresses"),
        ("addresses", [{"network": "1", "ip": "192.0.2.1"}], "addresses"),
        ("addresses", [{"network": 1, "ip": "192.0.2.1/24"}], "addresses"),
        ("addresses", [{"network": 1, "ip": "em1|192.0.2.1"}], "addresses"),
        ("addresses", [{"network": 1, "ip": "192.0.2.1;x"}], "addresses"),
        ("addresses", [{"network": 1, "ip": "0.0.0.0"}], "addresses"),
        ("addresses", [{"network": 1, "ip": "192.0.2.1", "interface": "x; y"}], "addresses"),
        ("addresses", [{"network": 1, "ip": "192.0.2.1"}] * 2, "addresses"),
        ("addresses", [{"network": 1, "ip": "２.0.2.1"}], "addresses"),
        ("limits", "x", "limits"),
        ("limits", {"quota": "1G"}, "quota"),
        ("limits", {"quota": 5}, "quota"),
        ("limits", {"quota": True}, "quota"),
        ("limits", {"children_max": -1}, "children_max"),
        ("limits", {"securelevel": 9}, "securelevel"),
        ("limits", {"enforce_statfs": 3}, "enforce_statfs"),
        ("limits", {"allow.mount": 1}, "allow.mount"),
        ("exec.prestart", "rm -rf /", "exec.prestart"),
    ],
)
def test_wrong_values_are_refused_by_name(field, value, at):
    with pytest.raises(Refused) as error:
        jail_create.kind.clean({**WISH, field: value})
    assert list(error.value.errors) == [at]


def test_what_is_left_out_has_a_default():
    cleaned = jail_create.kind.clean({**WISH, "name": "web_1"})
    assert cleaned["hostname"] == "web-1" and cleaned["addresses"] == [] and not cleaned["boot"]
    assert cleaned["limits"] == {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}


# What fails leaves nothing


@pytest.mark.parametrize("fault", [{"fail": {"rc": 1, "stderr": "it resists"}}, {"cut": {}}], ids=["fails", "cut off"])
@pytest.mark.parametrize(
    ("sort", "match"),
    [
        ("thick", "zfs receive"),
        ("thick", "zfs rename"),
        ("thick", "zfs set mountpoint"),
        ("thin", "zfs clone"),
        ("ufs", "tar --numeric-owner -xpf"),
        ("ufs", "mv -n"),
        ("thin", "pw -R"),
        ("thick", "jail -f"),
        ("ufs", "jail -f"),
    ],
)
def test_what_fails_leaves_nothing(request, sort, match, fault):
    world = request.getfixturevalue("ufs_stocked" if sort == "ufs" else "stocked")
    before = world.picture()
    kind = "thin" if sort == "thin" else "thick"
    wish = world.wish(kind=kind, addresses=world.at("192.0.2.10"), start=True, boot=True)
    operation = world.confirm("jail_create", **wish)
    # Once: what is undone must not fail as well.
    fault = {name: {**value, "nth": 1} for name, value in fault.items()}
    world.fault(match=match, **fault)
    assert world.work(operation) == Status.FAILED, transcript(operation)
    assert world.picture() == before
    assert not Jail.objects.exists() and not Address.objects.exists()


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_boot_list_that_was_half_changed_is_put_right(stocked, at):
    before = stocked.picture()
    operation = stocked.confirm("jail_create", **stocked.wish(start=True, boot=True))
    stocked.fault(match="sysrc", cut={"nth": 1, "at": at})
    assert stocked.work(operation) == Status.FAILED, transcript(operation)
    rc_conf = before["files"].pop("etc/rc.conf")
    after = stocked.picture()
    assert after["files"].pop("etc/rc.conf").replace(b'jail_list=""\n', b"") == rc_conf
    assert after == before and not Jail.objects.exists()


def test_a_start_that_is_ended_by_its_time_limit_leaves_nothing(stocked):
    before = stocked.picture()
    operation = stocked.confirm("jail_create", **stocked.wish(addresses=stocked.at("192.0.2.10"), start=True))
    stocked.fault(match="jail -f", cut={"nth": 1, "at": "after"})
    assert stocked.work(operation) == Status.FAILED, transcript(operation)
    assert stocked.picture() == before


def test_an_address_taken_by_hand_meanwhile_is_left_to_whom_has_it(stocked):
    operation = stocked.confirm("jail_create", **stocked.wish(addresses=stocked.at("192.0.2.10"), start=True))

    def take():
        stocked.sh("ifconfig em0 inet 192.0.2.10/32 alias")

    meddling = Meddling(stocked.connection, "jail.conf.d", take)
    assert stocked.work(operation, connect=lambda host: meddling) == Status.FAILED
    assert "no interface has 192.0.2.10" in operation.error
    assert stocked.addresses() == ["192.0.2.10"] and not stocked.exists("/jail") and DATASET not in stocked.datasets()


def test_a_jail_that_goes_on_dying_is_waited_for(form):
    world, wish = form
    before = world.picture()
    operation = world.confirm("jail_create", **world.wish(**wish, start=True, boot=True))
    world.fault(dying=4)
    world.fault(match="sysrc", fail={"nth": 1, "rc": 1, "stderr": "it resists"})
    assert world.work(operation) == Status.FAILED, transcript(operation)
    assert world.picture() == before


def test_on_the_oldest_release(blanks, tmp_path, admin, messages):
    """12.1: zfs receive sets no properties there, and jail.conf.d is read by nobody unless a list names the jail."""
    old = "12.1-RELEASE"
    world = World(blanks(release=old), tmp_path / "old", admin, name="old")
    mirror.make_mirror(world.simulation.directory / "root/mirror", old)
    wish = {"release": old, "architecture": "amd64", "source": f"/mirror/amd64/{old}"}
    world.done("release_fetch", **wish)
    offer = TrustedManifest.objects.get()
    release_fetch.trust(offer, admin, offer.digest)
    world.done("release_fetch", **wish)
    world.release = Release.objects.get()
    world.made(start=True, boot=True, addresses=world.at("192.0.2.10"))
    world.made(name="www2", kind="thin", start=True, boot=True, limits={"quota": 1 << 30})
    assert world.running() == {"www1": "/jail/www1", "www2": "/jail/www2"}
    assert world.facts().boot_state().boots_today == ("www1", "www2")
    assert world.value(DATASET, "cellblock:kind") == "thick"


BY_HAND = f"""
zfs list {DATASET} >/dev/null 2>&1 || {{
zfs create -p -o mountpoint=none zroot/cellblock/host 2>/dev/null
zfs create -o mountpoint=/mine {DATASET} && echo precious >/mine/file
}}
[ -e /jail/www1 ] || {{ mkdir -p /jail/www1 && echo precious >/jail/www1/file; }}
[ -e {CONF} ] || echo precious >{CONF}
"""
PRECIOUS = ("/mine/file", "/jail/www1/file", CONF)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sort", ["thick", "ufs"])
def test_what_is_made_by_hand_before_any_step_is_left_alone(request, sort):
    """Dataset, path and file, each where it is not there yet: never adopted, overwritten or removed."""
    world = request.getfixturevalue("ufs_stocked" if sort == "ufs" else "stocked")
    text = BY_HAND[BY_HAND.index("[ -e /jail") :] if sort == "ufs" else BY_HAND
    folder, disturbed = world.simulation.directory, 0
    for number in range(1, 60):
        other = World(folder, folder.with_name(f"copy{number}"), world.user, name=f"host{number}")
        other.release = Release.objects.get(pk=world.release.pk)
        other.release.pk, other.release.host = None, other.row
        other.release.save()
        meddling = Meddling(other.connection, number, lambda other=other: other.sh(f"{text}true"))
        operation = other.confirm("jail_create", **other.wish())
        other.work(operation, connect=lambda host, meddling=meddling: meddling)
        kept = [path for path in PRECIOUS if other.exists(path) and other.read(path) == "precious\n"]
        if kept:
            disturbed += 1
            assert operation.status == Status.FAILED, (number, transcript(operation))
            assert not Jail.objects.filter(host=other.row).exists()
            mine = [path for path in ("/jail/www1", CONF) if other.exists(path)]
            assert len(mine) == len([path for path in kept if path != "/mine/file"]), (number, mine, kept)
            assert ("/mine/file" in kept) == (sort != "ufs" and DATASET in other.datasets()), number
            assert [name for name in other.list("/jail") if name.startswith(".")] == [], number
        else:
            assert operation.status == Status.DONE, (number, transcript(operation))
        if not meddling.done:
            break
    assert disturbed >= 9 and number > 11


def test_where_it_changed_the_new_plan_is_shown(stocked):
    operation = stocked.confirm("jail_create", **stocked.wish())
    stocked.sh("mkdir -p /jail/www1")
    assert stocked.work(operation) == Status.REFUSED
    assert "/jail/www1 is there on warden1 already" in operation.error and not Jail.objects.exists()


def test_console_logs_are_turned_over(stocked):
    stocked.made()
    assert stocked.read(layout.NEWSYSLOG) == layout.NEWSYSLOG_TEXT
