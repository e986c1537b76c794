"""Files of the host that a fix changes: what they say, and one change that leaves every other byte as it was."""

import pytest

from jails.freebsd import loaderconf, loginconf, rcconf, service, sshd_config

SHIPPED = "#Port 22\n#AddressFamily any\n#ListenAddress 0.0.0.0\n#ListenAddress ::\n\nUsePAM yes\n"


# sshd_config


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        (SHIPPED, ()),
        ("ListenAddress 192.0.2.2\nlistenaddress=[2001:db8::2]:22\n", ("192.0.2.2", "[2001:db8::2]:22")),
        ("Match User x\nListenAddress 192.0.2.2\n", ()),
        ("  ListenAddress\t192.0.2.2  # mine\r\n", ("192.0.2.2",)),
    ],
)
def test_listen_addresses(text, addresses):
    assert sshd_config.listen_addresses(text) == addresses


@pytest.mark.parametrize(
    ("text", "ports"),
    [(SHIPPED, (22,)), ("port 2222\nPort 22 # old\nPort 2222\n", (2222, 22)), ("Match User x\nPort 1\n", (22,))],
)
def test_ports_of_sshd(text, ports):
    assert sshd_config.ports(text) == ports


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("192.0.2.2", ("192.0.2.2", None)),
        ("192.0.2.2:2222", ("192.0.2.2", 2222)),
        ("[2001:DB8::0002]:22", ("2001:db8::2", 22)),
        ("2001:db8::2", ("2001:db8::2", None)),
        ("www.example.com", ("", None)),
        ("192.0.2.2 rdomain 1", ("192.0.2.2", None)),
        ("", ("", None)),
    ],
)
def test_plain_address(value, expected):
    assert sshd_config.plain_address(value) == expected


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (SHIPPED, SHIPPED.replace("::\n", "::\nListenAddress 192.0.2.2\n")),
        ("Port 22", "Port 22\nListenAddress 192.0.2.2"),
        ("Port 22\n", "Port 22\nListenAddress 192.0.2.2\n"),
        ("a\nMatch User x\n  b\n", "a\nListenAddress 192.0.2.2\nMatch User x\n  b\n"),
        ("ListenAddress ::\nx y\nListenAddress 0.0.0.0\n", "ListenAddress 192.0.2.2\nx y\n"),
        ("Port 22\r\n", "Port 22\r\nListenAddress 192.0.2.2\r\n"),
    ],
)
def test_new_addresses(text, new):
    assert sshd_config.with_listen_addresses(text, ["192.0.2.2"]) == new
    assert sshd_config.with_listen_addresses(new, ["192.0.2.2"]) == new
    assert sshd_config.listen_addresses(new) == ("192.0.2.2",)


@pytest.mark.parametrize("address", ["192.0.2.2\nPermitRootLogin yes", "$(reboot)", ""])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError):
        sshd_config.with_listen_addresses(SHIPPED, [address])


# loader.conf


def test_loader_conf():
    text = '# boot\nzfs_load="YES" # here\nkern.racct.enable=0\nexec="a \\"b"\nbroken\nkern.racct.enable = "1"\n'
    assert loaderconf.values(text)["kern.racct.enable"] == "1" and loaderconf.values(text)["zfs_load"] == "YES"


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("", 'a.b="1"\n'),
        ('x="y"', 'x="y"\na.b="1"\n'),
        ('a.b="0"\nx="y"\n', 'a.b="1"\nx="y"\n'),
        ("a.b=0\na.b=2\n", 'a.b=0\na.b="1"\n'),
        ('#a.b="0"\n', '#a.b="0"\na.b="1"\n'),
    ],
)
def test_a_variable_of_the_loader(text, new):
    assert loaderconf.with_value(text, "a.b", "1") == new


@pytest.mark.parametrize(("name", "value"), [("a b", "1"), ("a", '1"\nb="2'), ("a", "")])
def test_no_more_than_a_variable_is_written(name, value):
    with pytest.raises(ValueError):
        loaderconf.with_value("", name, value)


# login.conf

STOCK = "# mine\ndefault:\\\n\t:copyright=/x:\\\n\t:charset=ISO8859-1:\\\n\t:umask=022:\n\nroot:\\\n\t:tc=default:\n"


def test_login_conf():
    assert loginconf.capabilities(STOCK)["charset"] == "ISO8859-1" and not loginconf.is_utf8(STOCK)
    new = loginconf.with_utf8(STOCK)
    assert loginconf.is_utf8(new) and loginconf.capabilities(new)["lang"] == "C.UTF-8"
    assert new.replace("\t:charset=UTF-8:\\\n\t:lang=C.UTF-8:\\\n", "", 1) == STOCK
    assert not loginconf.is_utf8("root:\\\n\t:charset=UTF-8:\n")


@pytest.mark.parametrize("text", ["", "root:\\\n\t:tc=default:\n", "default::charset=x:\n"])
def test_a_login_conf_without_the_class_is_left_alone(text):
    with pytest.raises(ValueError, match="by hand"):
        loginconf.with_utf8(text)


# rc.conf and services


def test_what_sysrc_can_change_and_change_back():
    assert rcconf.assigned('a="1"\n#a="2"\nab="3"\n  a=4\n', "a") == ['a="1"', "  a=4"]
    plain = ['a="1"', 'a="1"  # x', 'a=""']
    assert all(rcconf.is_plain(row, "a") for row in plain)
    assert not any(rcconf.is_plain(row, "a") for row in ("a=1", "a='1'", 'a="$b"', ' a="1"', 'a="1"; b=2', 'a="1'))


def test_daemons():
    assert service.daemon("reload", "sshd") == ("service", "sshd", "reload")
    for action, name in (("status", "sshd"), ("reload", "-x"), ("reload", "a b"), ("reload", "../x")):
        with pytest.raises(ValueError):
            service.daemon(action, name)
