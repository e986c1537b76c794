"""A file out of a snapshot, on a simulated host whose trees are real directories with real links in them."""

import pytest

from jails.freebsd import inside, jail
from jails.freebsd.command import Pipeline
from jails.operations import file_restore, kind
from jails.operations.common import NOBODY
from jails.operations.kind import Refused

WWW1 = "zroot/cellblock/host/www1"


@pytest.fixture(params=["running", "stopped"])
def www1(request, warden):
    """Its page and a folder were other ones when the snapshot was taken."""
    row = warden.make("www1", start=request.param == "running")
    warden.sh(
        "mkdir -p /jail/www1/srv/shop; echo old >/jail/www1/srv/page; echo 1 >/jail/www1/srv/shop/one; "
        f"zfs snapshot {WWW1}@monday; echo new >/jail/www1/srv/page; rm -r /jail/www1/srv/shop"
    )
    return row


def restore(warden, row, path, how="beside"):
    return warden.do("file_restore", jail=str(row.uuid), snapshot="monday", path=path, how=how)


def listing(warden, folder="/jail/www1/srv"):
    return sorted(warden.sh('ls -A "$1"', folder).split("\n")[:-1])


def called(operation, name, word="restored"):
    return f"{name}.{word}-{str(operation.pk)[:8]}"


def test_beside_what_is_there(warden, www1):
    state = warden.running()
    operation = restore(warden, www1, "/srv/page")
    assert (operation.status, operation.error) == ("done", "")
    assert operation.title == "Bring /srv/page of www1 back from monday"
    assert listing(warden) == sorted(["page", called(operation, "page")])
    assert warden.read("/jail/www1/srv/page") == "new\n"
    assert warden.read(f"/jail/www1/srv/{called(operation, 'page')}") == "old\n"
    assert warden.running() == state


def test_in_its_place_and_the_new_one_is_kept(warden, www1):
    operation = restore(warden, www1, "/srv/page", "replace")
    assert (operation.status, operation.error) == ("done", "")
    assert warden.read("/jail/www1/srv/page") == "old\n"
    assert warden.read(f"/jail/www1/srv/{called(operation, 'page', 'before')}") == "new\n"
    assert len(listing(warden)) == 2


def test_a_folder_that_is_gone(warden, www1):
    operation = restore(warden, www1, "/srv/shop", "replace")
    assert (operation.status, operation.error) == ("done", "")
    assert warden.read("/jail/www1/srv/shop/one") == "1\n" and listing(warden) == ["page", "shop"]


def test_nothing_but_text_reaches_the_host(warden, www1):
    assert restore(warden, www1, "/srv/page").status == "done"
    changing = [entry["argv"] for entry in warden.simulation.log() if "tar" in " ".join(entry["argv"])]
    assert not any(argv[0] == "tar" and "/jail/www1" in " ".join(argv) for argv in changing)
    made = warden.simulation.run("jls", "-d", "name").split()
    assert not any(name.startswith(("read-", "write-")) for name in made)


# Links that somebody has planted: none leads out of where one stands, in the snapshot or in the jail


def outside(warden):
    """A file of the host, and one of the jail, that nothing may touch."""
    return warden.sh("ls -lR /etc /root; cat /etc/rc.conf; ls -l /jail/www1/etc; cat /jail/www1/etc/rc.conf || true")


LINKS = ["/", "/etc", "../../..", "../etc", "/jail/www1/etc", ".", "/srv"]


@pytest.fixture
def stopped(warden):
    """A stopped jail, and what restores of it without the engine around the same commands: many in one test."""
    row = warden.make("www1", start=False)
    warden.sh("mkdir /jail/www1/srv")

    def ready():
        warden.sh(f"zfs snapshot {WWW1}@monday")

    def bring(path):
        """Whether it came, as PATH.back; then it is swapped with what is there, which becomes PATH.old."""
        read = jail.run_transient("read-1", "/jail/www1/.zfs/snapshot/monday", inside.pack(path))
        name = path.rpartition("/")[2]
        write = jail.run_transient("write-1", row.path, inside.unpack(path, f"{name}.back", ".work-1"))
        if not warden.connection.run(Pipeline((read, write)), timeout=60).ok:
            return False
        swap = inside.swap(path, f"{name}.back", f"{name}.old", ".swap-1")
        return warden.connection.run(Pipeline.of(jail.run_transient("swap-1", row.path, swap)), timeout=60).ok

    return ready, bring


def test_folders_of_the_path_that_are_links_in_the_snapshot(warden, stopped):
    ready, bring = stopped
    for number, link in enumerate(LINKS):
        warden.sh('ln -s "$1" "/jail/www1/srv/in$2"', link, str(number))
    ready()
    for number in range(len(LINKS)):
        warden.sh('rm "/jail/www1/srv/in$1"; mkdir "/jail/www1/srv/in$1"', str(number))
    before = outside(warden)
    assert [link for number, link in enumerate(LINKS) if bring(f"/srv/in{number}/rc.conf")] == []
    assert outside(warden) == before
    # Where nothing came out of the snapshot, the folder to unpack in is left for the undo.
    left = [listing(warden, f"/jail/www1/srv/in{number}") for number in range(len(LINKS))]
    assert all(names in ([], [".work-1"]) for names in left)
    assert not any(listing(warden, f"/jail/www1/srv/in{at}/.work-1") for at, names in enumerate(left) if names)


def test_folders_of_the_path_that_are_links_now(warden, stopped):
    ready, bring = stopped
    for number in range(len(LINKS)):
        warden.sh('mkdir "/jail/www1/srv/in$1"; echo evil >"/jail/www1/srv/in$1/rc.conf"', str(number))
    ready()
    for number, link in enumerate(LINKS):
        warden.sh('rm -r "/jail/www1/srv/in$2"; ln -s "$1" "/jail/www1/srv/in$2"', link, str(number))
    before = outside(warden)
    assert [link for number, link in enumerate(LINKS) if bring(f"/srv/in{number}/rc.conf")] == []
    assert outside(warden) == before and len(listing(warden)) == len(LINKS)


def test_what_is_a_link_itself_comes_back_as_one_and_what_is_one_is_kept(warden, stopped):
    ready, bring = stopped
    links = ["/etc/rc.conf", "../../../etc/rc.conf", "/etc", "nowhere"]
    for number, link in enumerate(links):
        warden.sh('ln -s "$1" "/jail/www1/srv/was$2"; echo old >"/jail/www1/srv/is$2"', link, str(number))
    ready()
    for number, link in enumerate(links):
        warden.sh('rm /jail/www1/srv/*"$2"; ln -s "$1" "/jail/www1/srv/is$2"', link, str(number))
    before = outside(warden)
    for number, link in enumerate(links):
        assert bring(f"/srv/was{number}") and bring(f"/srv/is{number}")
        assert warden.sh('readlink "/jail/www1/srv/was$1"', str(number)) == f"{link}\n"
        assert warden.sh('readlink "/jail/www1/srv/is$1.old"', str(number)) == f"{link}\n"
        assert warden.sh('cat "/jail/www1/srv/is$1"', str(number)) == "old\n"
    assert outside(warden) == before


@pytest.mark.parametrize("name", [".work-1", "page.back"])
def test_names_that_it_uses_itself_are_links(warden, stopped, name):
    ready, bring = stopped
    warden.sh("echo old >/jail/www1/srv/page")
    ready()
    for link in ("/etc", "../etc", "/etc/rc.conf"):
        warden.sh('ln -s "$1" "/jail/www1/srv/$2"', link, name)
        before = outside(warden)
        bring("/srv/page")
        assert outside(warden) == before
        warden.sh("cd /jail/www1/srv; rm -f .work-1 page.back page.old")


# What somebody who is not root does in their own folder at the worst moment


def instead(warden, tool, before, after):
    """From now on that tool of the jail runs these lines too, where `$n` is how often it was asked for."""
    where = {"tar": "/usr/bin", "mv": "/bin"}[tool]
    lines = (
        "#!/bin/sh",
        "echo . >>/var/count",
        "n=$(wc -l </var/count)",
        before,
        f'{where}/{tool} "$@"',
        "rc=$?",
        after,
    )
    script = "\n".join((*lines, "exit $rc", ""))
    warden.sh('rm -f /jail/www1/var/count; printf %s "$1" >"$2"; chmod 755 "$2"', script, f"/jail/www1/sbin/{tool}")


def as_ever(warden, tool):
    warden.sh('rm -f "$1"', f"/jail/www1/sbin/{tool}")


PLANTS = ["ln -s /etc {0}", "ln -s ../etc {0}", "mkdir {0}", "ln -s /etc/rc.conf {0}"]


def test_a_link_that_is_planted_while_it_is_unpacked(warden, stopped):
    ready, bring = stopped
    warden.sh("echo old >/jail/www1/srv/evil; mkdir -p /jail/www1/etc")
    ready()
    for plant in PLANTS:
        before = outside(warden)
        instead(warden, "tar", "", plant.format("/srv/evil.back"))
        assert not bring("/srv/evil"), plant
        assert outside(warden) == before and listing(warden) == [".work-1", "evil", "evil.back"]
        assert listing(warden, "/jail/www1/srv/.work-1") == ["evil.back"]
        warden.sh("cd /jail/www1/srv; rm -r .work-1 evil.back")


@pytest.mark.parametrize("plant", PLANTS)
def test_a_link_that_is_planted_while_they_are_swapped(warden, stopped, plant):
    """After each mv in turn; the name that is planted is the one that the file shall get."""
    swap = jail.run_transient("swap-1", "/jail/www1", inside.swap("/srv/evil", "evil.back", "evil.old", ".swap-1"))
    warden.sh("mkdir -p /jail/www1/etc")
    for times in range(1, 7):
        warden.sh("cd /jail/www1/srv; rm -rf .swap-1 *; echo old >evil.back; echo new >evil")
        before = outside(warden)
        after = f"[ $n -ne {times} ] || [ -e /srv/evil ] || {plant.format('/srv/evil')}"
        instead(warden, "mv", "", after)
        warden.connection.run(Pipeline.of(swap), timeout=60)
        assert outside(warden) == before
        found = warden.sh("cd /jail/www1/srv; find . -type f -exec cat {} +")
        assert sorted(found.split()) == ["new", "old"]  # nothing of it is lost


def test_a_swap_that_is_cut_off_goes_on_and_goes_back(warden, stopped):
    names = ("/srv/page", "page.back", "page.old", ".swap-1")

    def run(command):
        return warden.connection.run(Pipeline.of(jail.run_transient("swap-1", "/jail/www1", command)), timeout=60).ok

    def cut(command, times):
        instead(warden, "mv", f"[ $n -lt {times} ] || exit 1", "")
        assert not run(command)
        as_ever(warden, "mv")

    for times in range(1, 7):
        warden.sh("cd /jail/www1/srv; rm -f *; echo old >page.back; echo new >page")
        cut(inside.swap(*names), times)
        assert run(inside.swap(*names)) and listing(warden) == ["page", "page.old"]
        cut(inside.swap_back(*names), times)
        assert run(inside.swap(*names)) and warden.read("/jail/www1/srv/page") == "old\n"
        cut(inside.swap_back(*names), times)
        assert run(inside.swap_back(*names)) and listing(warden) == ["page", "page.back"]
        assert warden.read("/jail/www1/srv/page") == "new\n"
        cut(inside.swap(*names), times)
        assert run(inside.swap_back(*names)) and listing(warden) == ["page", "page.back"]
        assert warden.read("/jail/www1/srv/page") == "new\n"


NAMES = ["a b", "-rf", "@x", "--", "ä", "it's", "$(reboot)", "*", "a\\b", "#", ";ls", '"', "..a", "...", "%s"]


def test_names_that_are_legal(warden, stopped):
    ready, bring = stopped
    for name in NAMES:
        warden.sh('echo old >"/jail/www1/srv/$1"', name)
    ready()
    for name in NAMES:
        warden.sh('echo new >"/jail/www1/srv/$1"', name)
    assert [name for name in NAMES if not bring(f"/srv/{name}")] == []
    for name in NAMES:
        assert warden.sh('cat "/jail/www1/srv/$1"', name) == "old\n", name
        assert warden.sh('cat "/jail/www1/srv/$1.old"', name) == "new\n", name


PATHS = [
    "",
    "/",
    "srv",
    "/srv/",
    "/srv//page",
    "/srv/../etc",
    "/srv/./page",
    "/a\nb",
    "/a\0b",
    "/" + "x" * 256,
    "/\ud800",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_cannot_be(path):
    wish = {"jail": NOBODY, "snapshot": "monday", "path": path, "how": "beside"}
    with pytest.raises(Refused) as refusal:
        kind.get("file_restore").clean(wish)
    assert set(refusal.value.errors) == {"path"}


# What fails


@pytest.mark.parametrize("path", ["/srv/none", "/srv/shop/one"])
def test_what_was_not_there_or_has_no_place_any_more(warden, www1, path):
    operation = restore(warden, www1, path, "replace")
    assert operation.status == "failed" and listing(warden) == ["page"]


@pytest.mark.parametrize("match", ["jail -c name=read-", "jail -c name=write-"])
def test_where_it_fails_nothing_is_left(warden, match):
    row = warden.make("www1", start=False)
    warden.sh(f"mkdir /jail/www1/srv; echo old >/jail/www1/srv/page; zfs snapshot {WWW1}@monday")
    operation = warden.confirm("file_restore", jail=str(row.uuid), snapshot="monday", path="/srv/page", how="replace")
    warden.fail(match, times=1)
    assert warden.work(operation) == "failed"
    assert listing(warden) == ["page"] and warden.read("/jail/www1/srv/page") == "old\n"


def test_on_ufs_there_is_nothing_to_bring_back(plain_warden):
    row = plain_warden.make("www1", start=False)
    with pytest.raises(Refused, match="only ZFS"):
        plain_warden.draft("file_restore", jail=str(row.uuid), snapshot="monday", path="/etc/motd", how="beside")


def test_the_longest_name(warden, www1):
    with pytest.raises(Refused) as refusal:
        warden.draft("file_restore", jail=str(www1.uuid), snapshot="monday", path="/" + "x" * 250, how="beside")
    assert "at most 255" in refusal.value.errors["path"]


def test_the_root_is_put_back_otherwise():
    assert "put the jail back instead" in str(file_restore.path_error("/"))
