import pytest

from jails.freebsd import ps, sockstat

from .samples import outputs

HEAD = "USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      \n"


def parse(*lines):
    return sockstat.parse((HEAD + "".join(f"{line}\n" for line in lines)).encode())


def test_what_freebsd_printed():
    six, four = sockstat.parse(outputs("00-system.json", "sockstat", "-46l")[0])
    assert (six.user, six.command, six.pid, six.proto, six.ip, six.port) == ("root", "sshd", 514, "tcp6", "*", 22)
    assert (four.proto, four.version, four.protocol) == ("tcp4", 4, "tcp")


def test_an_empty_list_is_none_and_no_heading_is_a_failure():
    assert sockstat.parse(HEAD.encode()) == ()
    with pytest.raises(ValueError, match="heading"):
        sockstat.parse(b"")


@pytest.mark.parametrize(
    ("line", "ip", "port", "pid"),
    [
        ("www      nginx      901   6  tcp4   192.0.2.10:80         *:*", "192.0.2.10", 80, 901),
        ("root     ntpd       3     20 udp6   2001:DB8::0:2:123     *:*", "2001:db8::2", 123, 3),
        ("root     ntpd       3     20 udp6   fe80::1%lo0:123       *:*", "fe80::1%lo0", 123, 3),
        ("root     dhclient   40    5  udp4   *:*                   *:*", "*", None, 40),
        ("?        ?          ?     ?  tcp4   *:2049                *:*", "*", 2049, None),
        ("root     sshd       514   3  tcp6   2001:db8:1:2:3:4:5:6:22  *:*", "2001:db8:1:2:3:4:5:6", 22, 514),
        ("root     my daemon  77    3  tcp4   *:81                  *:*    ", "*", 81, 77),
    ],
)
def test_lines(line, ip, port, pid):
    (found,) = parse(line)
    assert (found.ip, found.port, found.pid) == (ip, port, pid)


def test_a_socket_for_both_families_is_two():
    assert [one.proto for one in parse("root     named      9     5  udp46  *:53      *:*")] == ["udp4", "udp6"]


def test_a_process_cannot_pretend_to_be_another_or_hide_the_rest():
    """The name of a command is a jail's own choice, of up to 19 characters."""
    lines = ("nobody   1 2 tcp4 *:1 514   3  tcp4   10.0.0.5:8080         *:*", "nobody   x", "y  5  3  tcp4  *:9  *:*")
    found = parse(*lines, "root     sshd       514   3  tcp4   *:22                  *:*")
    assert [(one.pid, one.port) for one in found] == [(514, 8080), (5, 9), (514, 22)]
    assert found[0].command == "1 2 tcp4 *:1"


def test_descriptors_of_one_process_are_one():
    line = "www      nginx      901   {}  tcp4   192.0.2.10:80         *:*"
    assert len(parse(line.format(6), line.format(7))) == 1


def test_the_jail_is_that_of_the_process():
    found = parse(
        "www      nginx      901   6  tcp4   192.0.2.10:80         *:*",
        "root     sshd       514   3  tcp4   *:22                  *:*",
        "root     new        999   3  tcp4   *:99                  *:*",
        "root     odd        77    3  tcp4   *:77                  *:*",
    )
    named = sockstat.in_jails(found, {901: 3, 514: 0, 77: 8}, {3: "www1"})
    assert [one.jail for one in named] == ["www1", "", "", "8"]


def test_processes_and_their_jails():
    assert ps.parse_jails(b"  0 0\n336  3\n") == {0: 0, 336: 3}
    for wrong in (b"", b"PID JID\n", b"1 2 3\n"):
        with pytest.raises(ValueError, match="ps"):
            ps.parse_jails(wrong)
