import pytest

from jails.freebsd import zpool

from .samples import outputs


def test_pools():
    pools = zpool.parse_list(b"zroot\t8053063680\t283817472\t7769246208\t3\tONLINE\t0\toff\t12853569424673556745\n")
    assert pools == (
        zpool.Pool("zroot", 8053063680, 283817472, 7769246208, 3, "ONLINE", 0, False, "12853569424673556745"),
    )


def test_12_1_prints_per_cent_signs_where_openzfs_does_not():
    columns = "name,size,allocated,free,capacity,health,fragmentation,dedupratio,altroot,guid"
    row = outputs("01-zpool.json", "zpool", "list", "-Hp", "-o", columns)[0].decode().rstrip("\n").split("\t")
    output = "\t".join([*row[:7], "off", row[9]]).encode()
    assert zpool.parse_list(output)[0].fragmentation == 0


def test_a_pool_that_cannot_be_opened_has_no_sizes():
    (pool,) = zpool.parse_list(b"fp\t-\t-\t-\t-\tUNAVAIL\t-\t-\t1\n")
    assert (pool.size, pool.healthy) == (None, False)


def test_a_row_with_other_columns_is_an_error():
    with pytest.raises(ValueError, match="expected 9 columns"):
        zpool.parse_list(b"zroot\t1\n")


def status(name, number=0):
    return zpool.parse_status(outputs("01-zpool.json", "zpool", "status", *([name] if name else []))[number])[0]


def test_a_healthy_pool():
    found = status("")
    assert (found.name, found.state, found.scan, found.healthy, found.percent) == (
        "tank",
        "ONLINE",
        "none requested",
        True,
        None,
    )


def test_a_degraded_pool_says_why():
    found = status("fp", 1)
    assert (found.state, found.healthy) == ("DEGRADED", False)
    assert found.status.endswith("for the pool to continue functioning in a degraded state.")


def test_a_scrub_that_ended():
    found = zpool.parse_status(outputs("01-zpool.json", "sh", "-c", "sleep 5; zpool status tank")[0])[0]
    assert found.scan.startswith("scrub repaired 0 in") and not found.scanning


def test_a_scrub_that_runs():
    output = b"""  pool: zroot
 state: ONLINE
  scan: scrub in progress since Sun Nov 22 03:00:01 2026
\t1.21T / 3.05T scanned at 1.02G/s, 612G / 3.05T issued at 515M/s
\t0B repaired, 19.60% done, 01:23:45 to go
config:

\tNAME        STATE     READ WRITE CKSUM
\tzroot       ONLINE       0     0     0
\t  ada0p3    ONLINE       0     0     0

errors: No known data errors

  pool: tank
 state: ONLINE
  scan: none requested
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        ONLINE       0     0     0

errors: 3 data errors, use '-v' for a list
"""
    running, broken = zpool.parse_status(output)
    assert (running.scanning, running.percent, running.healthy) == (True, 19.6, True)
    assert (broken.name, broken.healthy) == ("tank", False)


def test_no_pools():
    assert zpool.parse_status(b"no pools available\n") == ()


def test_commands():
    assert zpool.scrub("zroot") == ("zpool", "scrub", "zroot")
    assert zpool.status("a", "b") == ("zpool", "status", "a", "b")


STATUS = """  pool: zroot
 state: ONLINE
  scan: scrub repaired 0B in 00:12:31 with 0 errors on Sun Nov  1 03:12:31 2026
config:

|NAME             STATE     READ WRITE CKSUM
|zroot            ONLINE       0     0     0
|  mirror-0       ONLINE       0     0     0
|    ada0p3       ONLINE       0     0     0
|    ada1p3       ONLINE       0     0     0
|  raidz2-1       ONLINE       0     0     0
|    replacing-0  ONLINE       0     0     0
|      ada2       ONLINE       0     0     0
|special
|  {special}          ONLINE       0     0     0
|logs
|  nda0p1         ONLINE       0     0     0
|spares
|  ada9           AVAIL

errors: No known data errors
""".replace("|", "\t")


def test_redundancy():
    (pool,) = zpool.parse_status(STATUS.format(special="mirror-2").encode())
    assert pool.vdevs == ("mirror", "raidz2") and pool.redundant
    assert pool.others == ("special:mirror", "logs:disk", "spares:disk")
    (pool,) = zpool.parse_status(STATUS.format(special="nda1").encode())
    assert not pool.redundant
    assert not status("tank").redundant and status("tank").vdevs == ("disk",)
    assert status("fp").redundant and status("fp", 1).vdevs == ("mirror",)


def test_when_it_was_last_scrubbed():
    (pool,) = zpool.parse_status(STATUS.format(special="mirror-2").encode())
    assert pool.scrubbed_at() == 1793502751
    assert pool.scrubbed_at(3600) == 1793502751 - 3600
    assert status("tank").scrubbed_at() is None
    recorded = zpool.parse_status(outputs("01-zpool.json", "sh", "-c", "sleep 5; zpool status tank")[0])[0]
    assert recorded.scrubbed_at() == 1795487924
