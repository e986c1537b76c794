import pytest

from jails.freebsd import ifconfig
from jails.freebsd.ifconfig import Address

from .samples import outputs


def by_name(output):
    return {interface.name: interface for interface in ifconfig.parse(output)}


def test_12_1():
    found = by_name(outputs("06-net.json", "ifconfig", "-a")[0])
    assert list(found) == [
        "vtnet0",
        "lo0",
        "pflog0",
        "epair0a",
        "epair0b",
        "epair1a",
        "epair1b",
        "foo0",
        "epair5b",
        "bridge0",
        "bridge1",
        "jbr0",
    ]
    vtnet0 = found["vtnet0"]
    assert (vtnet0.ether, vtnet0.mtu, vtnet0.up, vtnet0.status) == ("52:54:00:12:34:56", 1500, True, "active")
    assert vtnet0.addresses == (Address("inet", "10.0.2.15", 24), Address("inet6", "fe80::5054:ff:fe12:3456", 64))
    assert found["lo0"].addresses[-1] == Address("inet", "127.0.0.1", 8)
    assert (found["pflog0"].flags, found["foo0"].groups, found["foo0"].up) == ((), ("epair",), False)


def test_members_of_a_bridge():
    full = [found for found in outputs("06-net.json", "ifconfig", "bridge0") if b"member:" in found]
    assert ifconfig.parse(full[0])[0].members == ("epair1a", "epair0a")


def test_description_and_vlan():
    described = [found for found in outputs("06-net.json", "ifconfig", "foo0") if b"description" in found]
    assert ifconfig.parse(described[0])[0].description == "hello world"
    assert ifconfig.parse(outputs("06-net.json", "ifconfig", "vlan0")[0])[0].vlan_parent == "vtnet0"


NEWER = b"""em0: flags=1008843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST,LOWER_UP> metric 0 mtu 1500
\toptions=48505bb<RXCSUM,TXCSUM,VLAN_MTU>
\tether 58:9c:fc:00:11:22
\tinet 192.0.2.2 netmask 0xffffff00 broadcast 192.0.2.255
\tinet 192.0.2.50/32 broadcast 192.0.2.50
\tinet 192.0.2.51 netmask 0xffffffff broadcast 192.0.2.51 vhid 7
\tinet6 2001:db8::2 prefixlen 64 tentative autoconf pltime 604800 vltime 2592000
\tinet6 fe80::1%em0 prefixlen 64 scopeid 0x1
\tmedia: Ethernet autoselect (1000baseT <full-duplex>)
\tstatus: active
\tnd6 options=23<PERFORMNUD,ACCEPT_RTADV,AUTO_LINKLOCAL>
lo1: flags=1008049<UP,LOOPBACK,RUNNING,MULTICAST,LOWER_UP> metric 0 mtu 16384
\tinet 127.0.1.1 netmask 255.255.255.255
\tgroups: lo jails
gif0: flags=1008051<UP,POINTOPOINT,RUNNING,MULTICAST> metric 0 mtu 1280
\tinet 10.0.0.1 --> 10.0.0.2 netmask 0xfffffffc
"""


def test_14():
    found = by_name(NEWER)
    assert found["em0"].addresses == (
        Address("inet", "192.0.2.2", 24),
        Address("inet", "192.0.2.50", 32),
        Address("inet", "192.0.2.51", 32, ("vhid",)),
        Address("inet6", "2001:db8::2", 64, ("tentative", "autoconf")),
        Address("inet6", "fe80::1", 64),
    )
    assert (found["lo1"].groups, found["lo1"].addresses[0].prefix) == (("lo", "jails"), 32)
    assert found["gif0"].addresses == (Address("inet", "10.0.0.1", 30),)


def test_a_description_cannot_add_an_address():
    output = b"em0: flags=8843<UP> metric 0 mtu 1500\n\tdescription: x inet 192.0.2.9 netmask 0xffffff00\n"
    (em0,) = ifconfig.parse(output)
    assert em0.addresses == () and em0.description.startswith("x inet")


def test_nothing():
    assert ifconfig.parse(b"") == ()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (ifconfig.create("epair"), "ifconfig epair create"),
        (ifconfig.destroy("epair3a"), "ifconfig epair3a destroy"),
        (ifconfig.rename("epair3a", "www1_a"), "ifconfig epair3a name www1_a"),
        (ifconfig.set_ether("www1_a", "02:00:00:00:00:0a"), "ifconfig www1_a ether 02:00:00:00:00:0a"),
        (ifconfig.up("em0"), "ifconfig em0 up"),
        (ifconfig.add_alias("em0", "192.0.2.9"), "ifconfig em0 inet 192.0.2.9/32 alias"),
        (ifconfig.add_alias("em0", "2001:db8::9/64"), "ifconfig em0 inet6 2001:db8::9/64 alias"),
        (ifconfig.remove_alias("em0", "192.0.2.9/24"), "ifconfig em0 inet 192.0.2.9 -alias"),
        (ifconfig.add_member("bridge0", "www1_a"), "ifconfig bridge0 addm www1_a"),
        (ifconfig.remove_member("bridge0", "www1_a"), "ifconfig bridge0 deletem www1_a"),
        (ifconfig.give("www1_b", "www1"), "ifconfig www1_b vnet www1"),
        (ifconfig.take_back("www1_b", "www1"), "ifconfig www1_b -vnet www1"),
        (ifconfig.describe("em0", "to the switch"), "ifconfig em0 description to the switch"),
    ],
)
def test_commands(words, line):
    assert " ".join(words) == line


@pytest.mark.parametrize(
    "ether", ["01:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00", "02-00-00-00-00-00", "02:00:00:00:00:0G"]
)
def test_ethernet_addresses_are_unicast(ether):
    with pytest.raises(ValueError, match=r"^ether: "):
        ifconfig.set_ether("em0", ether)
