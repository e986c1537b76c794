"""What changed since a snapshot, and what is in it: looks at a simulated host."""

import pytest
from django.utils import timezone

from jails.freebsd import inside
from jails.looks import changes, kind, snapshot_files
from jails.models import Look, Operation, ResourceLock
from jails.operations import locks

pytestmark = pytest.mark.django_db
WWW1 = "zroot/cellblock/host/www1"
HARD = ["a b", "-rf", "ä", "tab\there", "new\nline", "\x1b[31m", "back\\slash", "..a", "*"]


@pytest.fixture
def www1(warden):
    row = warden.make("www1", start=False)
    warden.sh(f"mkdir -p /jail/www1/srv/shop; echo old >/jail/www1/srv/page; zfs snapshot {WWW1}@monday")
    return row


def test_what_changed(warden, look, www1):
    warden.sh("cd /jail/www1/srv; echo new >page; rmdir shop; echo 1 >more")
    for name in HARD:
        warden.sh('echo 1 >"/jail/www1/srv/$1"', name)
    found = look(www1, "changes", snapshot="monday")
    assert (found.state, found.problem) == ("done", "")
    rows = {row["path"]: row["change"] + row["kind"] for row in found.result["rows"]}
    assert (rows["/srv/page"], rows["/srv/shop"], rows["/srv/more"]) == ("MF", "-/", "+F")
    assert rows["/srv/a b"] == rows["/srv/ä"] == rows["/srv/back\\slash"] == "+F"
    assert found.result["count"] == len(rows) and not found.result["more"]
    assert not any("\n" in path or "\x1b" in path or path.startswith("/jail") for path in rows)


def test_nothing_is_compared_while_an_operation_is_at_it(warden, look, www1):
    """zfs diff takes a snapshot of its own that a rollback would trip over."""
    operation = warden.confirm("jail_rollback", jail=str(www1.uuid), snapshot="monday")
    locks.take(operation, operation.plan["resources"])
    found = look(www1, "changes", snapshot="monday")
    assert (found.state, found.problem) == ("failed", "An operation is at its dataset: look again when that has ended.")
    assert not [line for line in warden.commands() if line.startswith("zfs diff")]
    ResourceLock.objects.all().delete()
    assert look(www1, "changes", snapshot="monday").state == "done"


def test_an_operation_waits_until_a_comparison_has_ended(warden, look, www1, admin):
    """The one that has begun first goes first: each says what it does before it asks what the other does."""
    operation = warden.confirm("jail_rollback", jail=str(www1.uuid), snapshot="monday")
    under_way = Look.objects.create(
        jail=www1,
        kind="changes",
        key="x",
        asked_by=admin,
        asked_at=timezone.now(),
        taken_at=timezone.now(),
        expires_at=timezone.now(),
        state=Look.State.TAKEN,
    )
    assert warden.work(operation) == "queued"
    assert operation.waiting_for == "somebody who looks at what has changed in www1"
    assert not ResourceLock.objects.exists() and "zfs rollback" not in " ".join(warden.commands())
    for other in ({"kind": "snapshot_files"}, {"kind": "changes", "taken_at": timezone.now() - 2 * Look.PATIENCE}):
        Look.objects.filter(pk=under_way.pk).update(**other)
        assert locks.looked_at(operation, operation.plan["resources"]) == ""
    assert warden.work(operation) == "done"


def test_the_end_of_a_comparison_wakes_what_waits_for_it(warden, look, www1, messages):
    operation = warden.confirm("jail_rollback", jail=str(www1.uuid), snapshot="monday")
    Operation.objects.filter(pk=operation.pk).update(waiting_for="somebody who looks", sent_at=None)
    messages.clear()
    assert look(www1, "changes", snapshot="monday").state == "done"
    assert str(operation.pk) in str(messages)


def test_the_snapshot_that_a_comparison_takes_is_nobodys(warden, www1):
    """Of zfs-diff(8) while it runs; one that only looks like it is somebody's."""
    for name in ("zfs-diff-4711-00000000deadbeef", "zfs-diff-of-mine"):
        warden.sh('zfs snapshot "$1"', f"{WWW1}@{name}")
    assert [one.name for one in warden.facts().snapshots_of(WWW1)] == [f"{WWW1}@monday", f"{WWW1}@zfs-diff-of-mine"]


def test_nothing_changed_and_nothing_is_left(warden, look, www1):
    assert look(www1, "changes", snapshot="monday").result == {"count": 0, "more": False, "rows": []}
    assert [one.name for one in warden.facts().snapshots_of(WWW1)] == [f"{WWW1}@monday"]


def test_of_too_many_changes_the_first_are_kept(warden, look, www1, monkeypatch):
    warden.sh("cd /jail/www1/srv; echo 1 >one; echo 2 >two")
    monkeypatch.setattr(changes, "MOST", 2)
    found = look(www1, "changes", snapshot="monday").result
    assert len(found["rows"]) == 2 < found["count"]


@pytest.mark.parametrize("name", ["changes", "snapshot_files"])
def test_a_snapshot_that_is_not_there(look, www1, name):
    found = look(www1, name, snapshot="friday")
    assert found.state == "failed" and "may be gone" in found.problem


@pytest.mark.parametrize("name", ["changes", "snapshot_files"])
@pytest.mark.parametrize("snapshot", ["", "..", ".", "a/b", "a@b", "../../../etc", "a\n", None, 7])
def test_names_that_are_no_snapshot(name, snapshot):
    with pytest.raises(kind.Refused):
        kind.get(name).clean({"snapshot": snapshot})


@pytest.mark.parametrize("path", ["srv", "/..", "/srv/../etc", "//", "/srv/", "/a\nb", "/" + "x" * 300, 7])
def test_paths_that_are_none(path):
    with pytest.raises(kind.Refused):
        kind.get("snapshot_files").clean({"snapshot": "monday", "path": path})


def test_what_is_in_a_folder(warden, look, www1):
    for name in HARD:
        warden.sh('echo 12345 >"/jail/www1/srv/$1"', name)
    warden.sh(f"ln -s /etc /jail/www1/srv/link; ln -s nowhere /jail/www1/srv/dangling; zfs snapshot {WWW1}@tuesday")
    warden.sh("rm -r /jail/www1/srv/page")
    found = look(www1, "snapshot_files", snapshot="tuesday", path="/srv")
    assert (found.state, found.problem) == ("done", "")
    rows = {row["name"]: row for row in found.result["rows"]}
    assert found.result["count"] == len(rows) == len(HARD) + 4
    assert found.result["rows"][0]["name"] == "shop" and rows["shop"]["kind"] == "directory"
    assert rows["page"]["size"] == 4 and rows["page"]["modified"] > 1_000_000_000
    assert rows["link"]["kind"] == rows["dangling"]["kind"] == "link"
    odd = {"tab\ufffdhere", "new\ufffdline", "\ufffd[31m"}
    assert {name for name, row in rows.items() if not row["exact"]} == odd
    assert rows["a b"]["exact"] and rows["-rf"]["exact"] and rows["back\\slash"]["size"] == 6
    assert not any("\n" in name or "\x1b" in name for name in rows)


def test_the_root_and_an_empty_folder(look, www1):
    root = look(www1, "snapshot_files", snapshot="monday").result
    assert {"etc", "srv", "bin"} <= {row["name"] for row in root["rows"]}
    assert look(www1, "snapshot_files", snapshot="monday", path="/srv/shop").result == {"count": 0, "rows": []}


@pytest.mark.parametrize("link", ["/etc", "/", "../../..", "/jail/www1/etc", "shop"])
def test_a_link_is_not_followed(warden, look, www1, link):
    warden.sh(f'ln -s "$1" /jail/www1/srv/in; zfs snapshot {WWW1}@tuesday', link)
    found = look(www1, "snapshot_files", snapshot="tuesday", path="/srv/in")
    assert found.state == "failed" and "a link is part of its path" in found.problem


def test_of_too_many_names_the_first_are_kept(warden, look, www1, monkeypatch):
    monkeypatch.setattr(snapshot_files, "MOST", 3)
    found = look(www1, "snapshot_files", snapshot="monday").result
    assert len(found["rows"]) == 3 < found["count"]


def test_no_jail_is_left_and_none_is_found_meanwhile(warden, look, www1):
    from jails.models import Jail

    look(www1, "snapshot_files", snapshot="monday")
    assert warden.simulation.run("jls", "-d", "name") == ""
    warden.sh("jail -c name=look-1 path=/jail/www1/.zfs/snapshot/monday persist")
    warden.refresh()
    assert list(Jail.objects.values_list("name", flat=True)) == ["www1"]


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"x\n",
        b"1\n",
        b"1\n100644 1 1\n",
        b"1\n100644 1 1\n./a",
        b"1\n./a\0",
        b"1\n1 1 1\n1 1 1\n./a\0",
    ],
)
def test_a_list_that_is_none(output):
    if output == b"1\n":
        assert inside.parse_list(output) == (1, ())
        return
    with pytest.raises(ValueError, match="list of a folder"):
        inside.parse_list(output)
