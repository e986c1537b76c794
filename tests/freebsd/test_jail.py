import pytest

from jails.freebsd import jail, jexec

FILE = "/etc/jail.conf.d/www1.conf"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (jail.create("www1", file=FILE), f"jail -f {FILE} -c www1"),
        (jail.create("www1", file=FILE, verbose=True), f"jail -v -f {FILE} -c www1"),
        (jail.create("www1", file=FILE, quiet=True), f"jail -f {FILE} -q -c www1"),
        (jail.remove("www1", file=FILE), f"jail -f {FILE} -r www1"),
        (jail.remove("www1", file=FILE, quiet=True), f"jail -f {FILE} -q -r www1"),
        (jail.modify("www1", file=FILE), f"jail -f {FILE} -m www1"),
        (jail.remove_unconfigured("top.kid"), "jail -R top.kid"),
        (
            jail.set_parameters(
                "www1", {"host.hostname": "a b", "persist": False, "allow.mount.tmpfs": True, "allow.mount": False}
            ),
            "jail -m name=www1 host.hostname=a b nopersist allow.mount.tmpfs allow.nomount",
        ),
        (
            jail.run_transient("tmp1", "/jail/www1", ["sh", "-c", "exit 0"]),
            "jail -c name=tmp1 path=/jail/www1 exec.clean ip4=disable ip6=disable command=sh -c exit 0",
        ),
        (jexec.run("www1", ["service", "sshd", "status"]), "jexec -l www1 service sshd status"),
        (jexec.run("www1", ["id"], user="www", clean=False), "jexec -U www www1 id"),
        (jexec.sh("www1", 'cat "$1"', "/etc/rc.conf"), 'jexec -l www1 sh -c cat "$1" sh /etc/rc.conf'),
    ],
)
def test_commands(words, line):
    assert " ".join(words) == line


@pytest.mark.parametrize("name", ["*", "www*", "77", "name=x", "-a", "", "a\nb", "a\0b"])
def test_a_name_that_means_something_else_is_refused(name):
    for refuses in (
        lambda: jail.remove(name, file=FILE),
        lambda: jail.remove_unconfigured(name),
        lambda: jexec.run(name, ["id"]),
    ):
        with pytest.raises(ValueError, match=r"^name: "):
            refuses()


@pytest.mark.parametrize(
    "parameters", [{}, {"a b": "x"}, {"host.hostname": "a\nb"}, {"-x": True}, {"persist;": True}, {"a..b": True}]
)
def test_hostile_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=r"^parameters: "):
        jail.set_parameters("www1", parameters)
