"""Renaming a jail: all that bears its name follows, or nothing does."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.models import Address, Jail
from jails.operations import jail_rename, lifecycle
from jails.operations.kind import Refused


def rename(warden, row, name):
    operation = warden.do("jail_rename", jail=str(row.uuid), name=name)
    row.refresh_from_db()
    return operation


def refused(warden, row, name="web1"):
    with pytest.raises(Refused) as refusal:
        warden.draft("jail_rename", jail=str(row.uuid), name=name)
    return refusal.value.errors


def test_a_running_jail(warden):
    warden.make("db")
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.sh("sysrc -q jail_list='www1 db'; zfs snapshot zroot/cellblock/host/www1@monday")
    warden.sh("echo hello >/jail/www1/root/mine; echo rotated >/var/log/cellblock/www1.log.0.bz2")
    operation = rename(warden, www1, "web1")
    assert (operation.status, operation.error) == ("done", "")
    assert operation.title == "Rename www1 to web1"
    assert warden.running() == {"db": "/jail/db", "web1": "/jail/web1"}
    assert warden.read("/jail/web1/root/mine") == "hello\n"
    datasets = warden.datasets()
    assert {"zroot/cellblock/host/web1", "zroot/cellblock/host/web1@monday"} <= set(datasets)
    assert not any("www1" in name for name in datasets)
    assert not any("www1" in path for path in warden.mounts()) and warden.addresses() == ["192.0.2.11"]
    assert warden.simulation.run("ls", "/etc/jail.conf.d") == "db.conf\nweb1.conf\n"
    assert warden.simulation.run("ls", "-A", "/jail").split() == ["db", "web1"]
    assert warden.sh("ls /var/log/cellblock").split() == ["db.log", "web1.log", "web1.log.0.bz2"]
    assert warden.facts().boot_state().boots_today == ("web1", "db")
    text = warden.read("/etc/jail.conf.d/web1.conf")
    assert text.startswith("# web1: managed by Cellblock.") and "www1" not in text.replace("www1.example.org", "")
    assert (www1.name, www1.path, www1.dataset) == ("web1", "/jail/web1", "zroot/cellblock/host/web1")
    assert www1.config_path == "/etc/jail.conf.d/web1.conf" and www1.hostname == "www1.example.org"
    assert Jail.objects.count() == 2 and Address.objects.get().jail == www1
    # The panel and the host agree: nothing is missing, nothing new is found.
    warden.refresh()
    assert set(Jail.objects.values_list("name", "state")) == {("db", "running"), ("web1", "running")}
    assert warden.do("jail_restart", jails=[str(www1.uuid)]).status == "done"


def test_the_order_is_stop_move_write_start(warden):
    www1 = warden.make("www1", "192.0.2.11")
    assert rename(warden, www1, "web1").status == "done"
    wanted = ("jail ", "zfs rename", "zfs set", "rmdir", "ln ", "rm /etc")
    order = [line for line in warden.commands() if line.startswith(wanted)]
    assert order[0] == "jail -f /etc/jail.conf.d/www1.conf -q -r www1"
    assert order[1:3] == [
        "zfs rename -u zroot/cellblock/host/www1 zroot/cellblock/host/web1",
        "zfs set mountpoint=/jail/web1 zroot/cellblock/host/web1",
    ]
    assert order[-2:] == ["rm /etc/jail.conf.d/www1.conf", "jail -f /etc/jail.conf.d/web1.conf -q -c web1"]


def test_a_stopped_jail_stays_stopped(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    assert rename(warden, www1, "web1").status == "done"
    assert warden.running() == {}
    assert warden.do("jail_start", jails=[str(www1.uuid)]).status == "done"
    assert warden.running() == {"web1": "/jail/web1"}


def test_on_ufs(plain_warden):
    www1 = plain_warden.make("www1", "192.0.2.11")
    plain_warden.sh("echo hello >/jail/www1/root/mine")
    operation = rename(plain_warden, www1, "web1")
    assert (operation.status, operation.error) == ("done", "")
    assert plain_warden.read("/jail/web1/root/mine") == "hello\n"
    assert plain_warden.running() == {"web1": "/jail/web1"} and www1.path == "/jail/web1"
    assert plain_warden.simulation.run("ls", "-A", "/jail").split() == ["web1"]


def test_what_was_changed_by_hand_stays(warden):
    www1 = warden.make("www1", start=False)
    by_hand = warden.read(www1.config_path).replace("\texec.clean;", "\t# ask Ada\n\texec.clean;\n\tallow.raw_sockets;")
    warden.write(www1.config_path, by_hand)
    assert rename(warden, www1, "web1").status == "done"
    assert warden.read(www1.config_path) == by_hand.replace("www1.example", "ORG").replace("www1", "web1").replace(
        "ORG", "www1.example"
    )


@pytest.mark.parametrize(
    "match",
    [
        "jail -f /etc/jail.conf.d/www1.conf -q -r",
        "zfs rename",
        "zfs set mountpoint=/jail/web1",
        "rmdir /jail/www1",
        "ln /etc/jail.conf.d/.web1.conf",
        "rm /etc/jail.conf.d/www1.conf",
        "mv /var/log/cellblock/www1.log",
        "sysrc jail_list=web1 db",
        "jail -f /etc/jail.conf.d/web1.conf -q -c",
    ],
)
def test_whatever_fails_nothing_has_changed(warden, match):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.make("db", boot=True)
    before = warden.picture()
    operation = warden.confirm("jail_rename", jail=str(www1.uuid), name="web1")
    warden.fail(match)
    assert warden.work(operation) == "failed", operation.error
    assert "it resists" in operation.error
    assert warden.picture() == before
    assert Jail.objects.filter(name="www1").exists() and Jail.objects.count() == 2


def test_on_ufs_whatever_fails_nothing_has_changed(plain_warden):
    www1 = plain_warden.make("www1", "192.0.2.11")
    before = plain_warden.picture()
    operation = plain_warden.confirm("jail_rename", jail=str(www1.uuid), name="web1")
    plain_warden.fail("jail -f /etc/jail.conf.d/web1.conf -q -c")
    assert plain_warden.work(operation) == "failed", operation.error
    assert plain_warden.picture() == before


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("-u zroot/cellblock/host/www1", "zfs create -o mountpoint=/mnt zroot/cellblock/host/web1"),
        ("/jail/web1", "mkdir /jail/web1; echo theirs >/jail/web1/file"),
        ("/etc/jail.conf.d/.web1.conf", "echo 'web1 { persist; }' >/etc/jail.conf.d/web1.conf"),
        ("-c web1", "jail -c name=web1 path=/mnt persist"),
    ],
)
def test_what_somebody_else_makes_under_the_new_name_is_left_alone(warden, words, make):
    www1 = warden.make("www1", "192.0.2.11")
    operation = warden.confirm("jail_rename", jail=str(www1.uuid), name="web1")
    pictures = []

    def intrude():
        warden.sh(make)
        pictures.append(warden.sh("zfs list -H -o name,mountpoint | grep mnt || true"))

    assert warden.work_with(operation, words, before=intrude) in ("failed", "stuck")
    if make.startswith("zfs"):
        assert pictures[0] == "zroot/cellblock/host/web1\t/mnt\n" and "/mnt" in warden.mounts()
    if make.startswith("mkdir"):
        assert warden.read("/jail/web1/file") == "theirs\n"
    if make.startswith("echo"):
        assert warden.read("/etc/jail.conf.d/web1.conf") == "web1 { persist; }\n"
    if make.startswith("jail"):
        assert warden.running()["web1"] == "/mnt"
    assert warden.running()["www1"] == "/jail/www1" and "/jail/www1/dev" in warden.mounts()


# What is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("www1", "is called www1 already"),
        ("db", "has a jail db already"),
        ("by-hand", "describes a jail by-hand already"),
        ("by_hand", "cannot tell it from by-hand"),
        ("lost", "A jail lost runs"),
        ("tree", "/jail/tree is there"),
        ("data", "zroot/cellblock/host/data is there"),
    ],
)
def test_a_name_that_is_taken(warden, name, words):
    www1 = warden.make("www1", start=False)
    warden.make("db", start=False)
    warden.write("/etc/jail.conf", "by-hand { persist; }\n")
    warden.sh("mkdir /jail/tree; jail -c name=lost path=/mnt persist; zfs create zroot/cellblock/host/data")
    warden.refresh()
    Jail.objects.filter(name__in=("by-hand", "lost")).delete()
    assert words in jail_error(warden, www1, name)


def jail_error(warden, row, name):
    errors = None
    with pytest.raises(Refused) as refusal:
        lifecycle.draft("jail_rename", {"jail": str(row.uuid), "name": name}, host=warden.row, user=warden.user)
    errors = refusal.value.errors
    assert set(errors) == {"name"}
    return errors["name"]


def test_its_own_old_name_is_in_nobodys_way(warden):
    row = warden.make("www-1", start=False)
    assert rename(warden, row, "www_1").status == "done" and row.name == "www_1"


def test_two_who_want_one_name(warden):
    rows = [warden.make(name, start=False) for name in ("www1", "www2")]
    drafts = [warden.draft("jail_rename", jail=str(row.uuid), name="web1") for row in rows]
    lifecycle.confirm(drafts[0], drafts[0].digest, user=warden.user)
    with pytest.raises(Refused, match="Somebody else"):
        lifecycle.confirm(drafts[1], drafts[1].digest, user=warden.user)
    assert warden.work(drafts[0]) == "done"
    assert set(Jail.objects.values_list("name", flat=True)) == {"web1", "www2"}


def test_the_new_name_is_given_back_when_cancelled(warden):
    www1 = warden.make("www1", start=False)
    operation = warden.confirm("jail_rename", jail=str(www1.uuid), name="web1")
    assert Jail.objects.get(name="web1").state == "pending"
    warden.refresh()
    assert set(Jail.objects.values_list("name", "state")) == {("web1", "pending"), ("www1", "stopped")}
    lifecycle.cancel(operation, user=warden.user)
    assert list(Jail.objects.values_list("name", flat=True)) == ["www1"]


def test_a_jail_that_another_one_depends_on(warden):
    www1 = warden.make("www1", start=False)
    warden.write("/etc/jail.conf", "www1 { path = /jail/www1; } web { path = /mnt; depend = www1; }\n")
    assert "web depends on www1" in refused(warden, www1)[""]


def test_a_tree_in_which_something_is_mounted(warden):
    www1 = warden.make("www1")
    warden.sh("mkdir /jail/www1/mnt/data; mount -t nullfs /usr /jail/www1/mnt/data")
    assert "/jail/www1/mnt/data is mounted in its tree" in refused(warden, www1)[""]


def test_something_mounted_in_the_tree_meanwhile(warden):
    www1 = warden.make("www1", start=False)
    operation = warden.confirm("jail_rename", jail=str(www1.uuid), name="web1")
    mount = lambda: warden.sh("mount -t nullfs /usr /jail/www1/mnt")  # noqa: E731
    assert warden.work_with(operation, "mount -p", before=mount) == "failed"
    assert "/jail/www1/mnt" in warden.mounts() and "zroot/cellblock/host/www1" in warden.datasets()


def test_a_file_that_names_the_path_elsewhere(warden):
    www1 = warden.make("www1", start=False)
    line = '\tmount += "/usr /jail/www1/mnt nullfs ro 0 0";\n}'
    warden.write(www1.config_path, warden.read(www1.config_path).replace("}", line))
    assert "names /jail/www1 in mount as well" in refused(warden, www1)[""]


def test_a_dataset_that_is_somebody_elses_by_now(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs destroy {www1.dataset}; zfs create -o mountpoint=/jail/www1 {www1.dataset}")
    assert "is not the dataset that was made for www1" in refused(warden, www1)[""]


def test_a_jail_that_the_panel_did_not_make(warden):
    warden.write("/etc/jail.conf", "db { path = /mnt; }\n")
    assert "was not made by Cellblock" in refused(warden, warden.find("db"))[""]


def test_what_a_crash_has_left_mounted_is_taken_away_first(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("jail -R www1")
    assert "/jail/www1/dev" in warden.mounts() and warden.addresses() == ["192.0.2.11"]
    assert rename(warden, www1, "web1").status == "done"
    assert not any("dev" in path for path in warden.mounts() if path != "/dev")


HOSTILE = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=80).filter(lambda text: not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", text)),
    st.sampled_from(["a.b", "-a", "123", "a b", "a/b", "..", "a\n", "a;b", "a{", "x" * 64, "$name", "аbc", "a\0"]),
)


@given(HOSTILE)
def test_hostile_names_are_refused_with_the_field_named(name):
    with pytest.raises(Refused) as refusal:
        jail_rename.kind.clean({"jail": "7b0d3f2e-0000-4000-8000-000000000000", "name": name})
    assert set(refusal.value.errors) == {"name"}
