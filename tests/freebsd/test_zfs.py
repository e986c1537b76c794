import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import zfs

from .samples import outputs


def test_rows_of_a_list():
    columns = (
        "name",
        "type",
        "used",
        "available",
        "referenced",
        "quota",
        "refquota",
        "mountpoint",
        "origin",
        "creation",
        "jailed",
        "mounted",
        "compressratio",
    )
    command = (
        "name,type,used,available,referenced,quota,refquota,mountpoint,origin,creation,jailed,mounted,compressratio"
    )
    rows = zfs.parse_list(outputs("02-zfs.json", "zfs", "list", "-Hp", "-o", command, "-t", "all")[0], columns)
    assert [row["name"] for row in rows] == ["tank", "tank/jails", "tank/jails/base"]
    assert zfs.number(rows[2]["used"]) == 283636224
    assert (rows[2]["mountpoint"], rows[2]["origin"], zfs.number(rows[2]["origin"])) == ("/jails/base", "-", None)


def test_no_datasets():
    assert zfs.parse_list(b"") == ()


def test_a_row_with_too_many_columns_is_an_error():
    with pytest.raises(ValueError, match="row 2 has 3 columns, expected 2"):
        zfs.parse_list(b"tank\t1\ntank/a\t1\t2\n", ("name", "used"))


def test_a_dataset_that_is_listed_twice_is_an_error():
    with pytest.raises(ValueError, match="listed twice"):
        zfs.parse_list(b"tank\t1\ntank\t2\n", ("name", "used"))


def test_properties():
    rows = zfs.parse_get(
        outputs(
            "02-zfs.json",
            "zfs",
            "get",
            "-Hp",
            "-o",
            "name,property,value,source",
            "used,available,quota,mountpoint,jailed,origin",
            "tank/jails/base",
        )[0]
    )
    assert ("tank/jails/base", "mountpoint", "/jails/base", "inherited from tank/jails") in rows


def test_free_text_cannot_forge_the_row_of_another():
    output = b"tank/a\t/a\top1\ntank/jailed\t/x\nother\t/stolen\top1\ntank/b\t/b\t-\n"
    values, doubtful = zfs.parse_free(output, ["tank/a", "tank/jailed", "tank/b"])
    assert values == {
        "tank/a": {"mountpoint": "/a", "cellblock:operation": "op1"},
        "tank/b": {"mountpoint": "/b", "cellblock:operation": "-"},
    }
    assert doubtful == {"tank/jailed"}


def test_a_forged_row_of_a_real_dataset_makes_both_doubtful():
    output = b"tank/a\t/a\top1\ntank/b\t/x\ntank/a\t/stolen\top2\n"
    values, doubtful = zfs.parse_free(output, ["tank/a", "tank/b"])
    assert (values, doubtful) == ({}, {"tank/a", "tank/b"})


def test_a_dataset_without_a_row_is_doubtful():
    assert zfs.parse_free(b"", ["tank"]) == ({}, {"tank"})


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (zfs.list_datasets("tank", properties=["name"]), "zfs list -Hp -r -t filesystem,volume -o name tank"),
        (zfs.list_datasets(properties=["name"], types=["snapshot"], depth=1), "zfs list -Hp -d 1 -t snapshot -o name"),
        (zfs.list_free("tank"), "zfs list -Hp -r -t filesystem,volume -o name,mountpoint,cellblock:operation tank"),
        (zfs.get(["used"], "tank", "tank@s"), "zfs get -Hp -o name,property,value,source used tank tank@s"),
        (zfs.create("tank/a", {"quota": "1G", "cellblock:x": "7"}), "zfs create -o quota=1G -o cellblock:x=7 tank/a"),
        (zfs.create("tank/a", unmounted=True), "zfs create -u tank/a"),
        (zfs.destroy("tank/a", recursive=True), "zfs destroy -r tank/a"),
        (zfs.destroy("tank/a@s"), "zfs destroy tank/a@s"),
        (zfs.destroy("tank/a@s", deferred=True), "zfs destroy -d tank/a@s"),
        (zfs.rollback("tank/a@s"), "zfs rollback tank/a@s"),
        (zfs.rollback("tank/a@s", newer=True), "zfs rollback -r tank/a@s"),
        (zfs.snapshot("tank/a", "s", {"cellblock:operation": "7"}), "zfs snapshot -o cellblock:operation=7 tank/a@s"),
        (zfs.clone("tank/r@s", "tank/a", {"quota": "1G"}), "zfs clone -o quota=1G tank/r@s tank/a"),
        (zfs.promote("tank/a"), "zfs promote tank/a"),
        (zfs.rename("tank/a", "tank/b", keep_mounted=True), "zfs rename -u tank/a tank/b"),
        (zfs.rename("tank/a@x", "tank/a@y"), "zfs rename tank/a@x tank/a@y"),
        (zfs.set_properties("tank/a", {"quota": "none", "exec": "off"}), "zfs set quota=none exec=off tank/a"),
        (zfs.inherit("cellblock:jail", "tank/a"), "zfs inherit cellblock:jail tank/a"),
        (zfs.send("tank/a@2", since="tank/a@1", raw=True), "zfs send -w -i tank/a@1 tank/a@2"),
        (zfs.receive("tank/b", {"mountpoint": "none"}), "zfs receive -u -o mountpoint=none tank/b"),
        (zfs.mount("tank/a"), "zfs mount tank/a"),
        (zfs.unmount("tank/a", force=True), "zfs unmount -f tank/a"),
        (zfs.hold("keep", "tank/a@s"), "zfs hold keep tank/a@s"),
        (zfs.release("keep", "tank/a@s"), "zfs release keep tank/a@s"),
        (zfs.holds("tank/a@s"), "zfs holds -H tank/a@s"),
        (zfs.attach("www1", "tank/a"), "zfs jail www1 tank/a"),
        (zfs.detach("www1", "tank/a"), "zfs unjail www1 tank/a"),
    ],
)  # fmt: skip
def test_commands(words, line):
    assert " ".join(words) == line


def test_a_snapshot_is_not_renamed_into_another_dataset():
    with pytest.raises(ValueError, match=r"^new: a snapshot stays"):
        zfs.rename("tank/a@x", "tank/b@x")


@pytest.mark.parametrize(("target", "recursive"), [("tank/a", False), ("tank/a@s", True)])
def test_only_one_snapshot_is_destroyed_later(target, recursive):
    with pytest.raises(ValueError, match=r"^deferred: "):
        zfs.destroy(target, recursive=recursive, deferred=True)


def test_a_snapshot_name_counts_against_the_limit_of_the_whole():
    with pytest.raises(ValueError, match=r"^name: has 2"):
        zfs.snapshot("tank/" + "x" * 240, "y" * 20)


@pytest.mark.parametrize(
    "properties", [{"a b": "x"}, {"quota": "1\n2"}, {"x:y": "a\0b"}, {"-o": "x"}, {"x:y": "v" * 9000}, {"": "x"}]
)
def test_hostile_properties_are_refused(properties):
    with pytest.raises(ValueError, match=r"^properties: "):
        zfs.create("tank/a", properties)


# zfs diff

ROOT = "/jail/www1"


def changes(*lines, root=ROOT):
    return zfs.parse_diff("".join(f"{line}\n" for line in lines).encode(), root)


def test_a_diff_has_kinds_times_and_both_names_of_what_was_renamed():
    assert changes(
        "1700000000.123456789\tM\t/\t/jail/www1/etc",
        "1700000001.000000000\tR\tF\t/jail/www1/a\t/jail/www1/b",
        "1700000002.000000000\tM\tF\t/jail/www1/hard\t(+1)",
        "         0.000000000\t-\t@\t/jail/www1/link",
    ) == (
        zfs.Change("M", "/", "/etc", at=1700000000),
        zfs.Change("R", "F", "/a", "/b", 1700000001),
        zfs.Change("M", "F", "/hard", at=1700000002),
        zfs.Change("-", "@", "/link"),
    )


def test_names_are_unmangled_byte_by_byte():
    line = "1.0\t+\tF\t/jail/www1/a\\0040b\\0011\\0012\\0134x\\0303\\0244\\0377"
    assert changes(line)[0].path == "/a b\t\n\\x\u00e4\udcff"


def test_a_mount_point_with_a_space():
    assert changes("1.0\t+\tF\t/jail/a\\0040b/x", root="/jail/a b")[0].path == "/x"


@pytest.mark.parametrize(
    "line",
    ["", "1.0\t+\tF", "1.0\t?\tF\t/jail/www1/a", "1.0\t+\tFF\t/jail/www1/a", "1.0\t+\tF\t/jail/www11/a",
     "1.0\t+\tF\t/etc/passwd", "1.0\tR\tF\t/jail/www1/a", "1.0\tR\tF\t/jail/www1/a\t/etc/b",
     "+\tF\t/jail/www1/a", "1.0\t+\tF\t(on_delete_queue)"],
)  # fmt: skip
def test_what_is_no_change_of_the_jail_is_left_out(line):
    assert changes(line) == ()


@given(st.binary())
def test_no_output_is_too_odd(output):
    zfs.parse_diff(output, ROOT)


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_comes_back(name):
    raw = f"{ROOT}/{name}".encode()
    mangled = "".join(chr(one) if 0x20 < one < 0x7F and one != 0x5C else f"\\{one:04o}" for one in raw)
    assert changes(f"1.0\t+\tF\t{mangled}")[0].path == f"/{name}"
