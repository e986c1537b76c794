import time

from jails.freebsd.jls import Jail as RunningJail
from jails.freebsd.sockstat import Socket
from jails.hosts import ports
from jails.hosts.facts import ConfiguredJail, HostFacts
from jails.hosts.ports import Level, Place, port_map

WWW1 = Place("www1", frozenset({"192.0.2.10", "2001:db8::10"}), running=True)
DB1 = Place("db1", frozenset({"192.0.2.11"}), running=False)


def socket(ip, port=22, jail="", command="sshd", proto="", pid=7):
    return Socket("root", command, pid, proto or ("tcp6" if ":" in ip else "tcp4"), ip, port, jail)


def level(entries, ip, jail=""):
    (found,) = [entry for entry in entries if entry.ip == ip and entry.jail == jail]
    return found.level, " ".join(found.why)


def test_nobody_is_in_the_way():
    found = port_map([socket("192.0.2.2"), socket("192.0.2.10", jail="www1"), socket("127.0.0.1", 25)], [WWW1])
    assert {entry.level for entry in found} == {Level.FINE}


def test_the_host_on_every_address_covers_jails_that_do_not_listen():
    found = port_map([socket("*")], [WWW1, DB1])
    assert level(found, "*") == (
        Level.NEAR,
        "Covers www1 (192.0.2.10) and db1 (192.0.2.11): it answers there as long as no jail does.",
    )


def test_both_listen():
    found = port_map([socket("*"), socket("192.0.2.10", jail="www1")], [WWW1])
    assert level(found, "*") == (Level.CONFLICT, "Jail www1's sshd wants 192.0.2.10:22 too.")
    assert level(found, "192.0.2.10", "www1") == (Level.CONFLICT, "The host's sshd wants 192.0.2.10:22 too.")


def test_the_host_holds_the_very_address_of_a_jail():
    found = port_map([socket("192.0.2.10")], [WWW1])
    assert level(found, "192.0.2.10") == (
        Level.CONFLICT,
        "It is the address of www1, which cannot listen there.",
    )


def test_a_daemon_that_opens_every_address_besides_is_one_that_covers_them():
    """ntpd(8): UDP 123 is the host's, whatever jails there are."""
    found = port_map([socket("*", 123, command="ntpd"), socket("192.0.2.10", 123, command="ntpd")], [WWW1])
    assert level(found, "192.0.2.10")[0] == level(found, "*")[0] == Level.NEAR


def test_families_and_protocols_are_apart():
    assert level(port_map([socket("*", proto="tcp6")], [DB1]), "*") == (Level.FINE, "")
    found = port_map([socket("*", 53, proto="udp4"), socket("192.0.2.10", 53, "www1", proto="tcp4")], [WWW1])
    assert level(found, "192.0.2.10", "www1")[0] == Level.FINE
    found = port_map([socket("*", 53, proto="udp6"), socket("2001:db8::10", 53, "www1", proto="udp6")], [WWW1])
    assert level(found, "2001:db8::10", "www1") == (Level.CONFLICT, "The host's sshd wants [2001:db8::10]:53 too.")


def test_a_jail_on_every_address_has_only_its_own():
    """in_pcb.c: with several addresses a jail's socket stays on the wildcard."""
    other = Place("www2", frozenset({"192.0.2.12", "192.0.2.13"}), running=True)
    found = port_map([socket("*", 80, "www2"), socket("192.0.2.10", 80, "www1")], [WWW1, other])
    assert {entry.level for entry in found} == {Level.FINE}


def test_a_jail_that_inherits_has_them_all():
    other = Place("web", frozenset(), running=True, every=frozenset({4}))
    found = port_map([socket("*", 80, "web", "nginx"), socket("192.0.2.10", 80, "www1", "httpd")], [WWW1, other])
    assert level(found, "*", "web") == (Level.CONFLICT, "Jail www1's httpd wants 192.0.2.10:80 too.")
    assert level(found, "192.0.2.10", "www1") == (Level.CONFLICT, "Jail web's nginx wants 192.0.2.10:80 too.")


def test_two_jails_with_one_address():
    twin = Place("www2", frozenset({"192.0.2.10"}), running=False)
    found = port_map([socket("192.0.2.10", 80, "www1")], [WWW1, twin])
    assert level(found, "192.0.2.10", "www1") == (Level.NEAR, "www2 has this address too.")
    found = port_map([socket("192.0.2.10", 80, "www1"), socket("192.0.2.10", 80, "www2")], [WWW1, twin])
    assert {entry.level for entry in found} == {Level.CONFLICT}


def test_what_has_no_port_is_left_out_and_processes_of_one_name_are_one_row():
    found = port_map([socket("*", None), socket("*", 80, pid=4), socket("*", 80, pid=3)], [])
    assert [(entry.where, entry.pids) for entry in found] == [("*:80", (3, 4))]


def test_order_is_by_port_then_address():
    found = port_map([socket(ip, port) for ip, port in (("10.0.0.10", 80), ("10.0.0.9", 80), ("*", 9))], [])
    assert [entry.where for entry in found] == ["*:9", "10.0.0.9:80", "10.0.0.10:80"]


def test_before_a_start():
    sockets = [socket("*"), socket("192.0.2.11", 80, "db2", "nginx"), socket("*", 80, "web"), socket("192.0.2.11", 22)]
    assert ports.blocking(sockets, "db1", ["em0|192.0.2.11/32"]) == (
        "Jail db2's nginx holds 192.0.2.11:80.",
        "The host's sshd holds 192.0.2.11:22.",
        "The host's sshd listens on *:22, which covers 192.0.2.11.",
    )
    assert ports.blocking([socket("192.0.2.11", 80, "db1")], "db1", ["192.0.2.11"]) == ()


def test_a_thousand_jails_take_no_time():
    jails = [Place(f"j{n}", frozenset({f"10.0.{n // 250}.{n % 250 + 1}"}), running=True) for n in range(1000)]
    sockets = [socket(next(iter(place.addresses)), 80, place.jail) for place in jails] + [socket("*", 80)]
    begun = time.perf_counter()
    found = port_map(sockets, jails)
    assert time.perf_counter() - begun < 2
    assert level(found, "*")[1].endswith("So do 997 more.")


def running(name, **parameters):
    given = {"jid": 1, "path": f"/jail/{name}", "hostname": name, "dying": False, "vnet": False, "ip4": "new"}
    given |= {"ip6": "disable", "ip4_addresses": (), "ip6_addresses": (), "parameters": {}}
    return RunningJail(name=name, **(given | parameters))


def configured(name, *addresses, parameters=()):
    return ConfiguredJail(name, "/etc/jail.conf", False, f"/jail/{name}", name, addresses, tuple(parameters))


def test_places_are_of_jails_that_share_the_stack():
    facts = HostFacts(
        jails=(
            running("www1", ip4_addresses=("192.0.2.10",)),
            running("apart", vnet=True),
            running("apart.child", ip4_addresses=("192.0.2.99",)),
            running("web", ip4="inherit"),
        )
    )
    facts.__dict__["configured"] = (
        configured("www1", "192.0.2.77"),
        configured("db1", "em0|192.0.2.11/32"),
        configured("alone", parameters=[("vnet", ())]),
        configured("shared", "192.0.2.14", parameters=[("vnet", ("inherit",))]),
    )
    found = ports.places(facts, {"new": ["192.0.2.12"], "db1": ["192.0.2.13"]})
    assert {place.jail: (sorted(place.addresses), place.running) for place in found} == {
        "www1": (["192.0.2.10"], True),
        "web": ([], True),
        "db1": (["192.0.2.11"], False),
        "shared": (["192.0.2.14"], False),
        "new": (["192.0.2.12"], False),
    }
    assert next(place.every for place in found if place.jail == "web") == {4}
