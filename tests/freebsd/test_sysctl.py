import pytest

from jails.freebsd import sysctl

from .samples import outputs


def test_values():
    names = ("kern.osrelease", "kern.ostype", "kern.version", "kern.hostname", "kern.hostuuid", "kern.boottime")
    recorded = outputs(
        "00-system.json",
        "sysctl",
        *("kern.osrelease", "kern.ostype", "kern.version", "kern.hostname", "kern.hostuuid", "kern.boottime"),
    )[0]
    # Recorded without -e, which writes `=` where there is `: `.
    values = sysctl.parse(recorded.replace(b": ", b"=", 6), names)
    assert values["kern.osrelease"] == "12.1-STABLE"
    assert values["kern.version"] == "FreeBSD 12.1-STABLE GENERIC"
    assert sysctl.boot_time(values["kern.boottime"]) == 1795491443


def test_a_value_cannot_pretend_to_be_another():
    values = sysctl.parse(b"hw.ncpu=4\nkern.hostname=x\nhw.ncpu=64\n", ("hw.ncpu", "kern.hostname"))
    assert values == {"hw.ncpu": "4", "kern.hostname": "x\nhw.ncpu=64"}


def test_what_the_kernel_does_not_know_is_left_out():
    assert sysctl.parse(b"hw.ncpu=4\n") == {"hw.ncpu": "4"}


def test_no_boot_time():
    assert sysctl.boot_time("") is None


def test_commands():
    assert sysctl.get(["hw.ncpu", "kern.features.vimage"]) == ("sysctl", "-ie", "hw.ncpu", "kern.features.vimage")
    assert sysctl.set_value("net.inet.ip.forwarding", 1) == ("sysctl", "net.inet.ip.forwarding=1")


@pytest.mark.parametrize("name", ["-a", "hw", "hw.ncpu=1", "hw.n cpu", "a;b.c", ""])
def test_hostile_names_are_refused(name):
    with pytest.raises(ValueError, match=r"^name: "):
        sysctl.get([name])
