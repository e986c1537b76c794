import pytest

from jails.freebsd import fstat

# As print_header and PREFIX of usr.bin/fstat/fstat.c write it.
OUTPUT = b"""\
USER     CMD          PID   FD MOUNT      INUM MODE         SZ|DV R/W
root     sh          4711   wd /jail/www1     34 drwxr-xr-x      10  r
root     sh          4711 text /           3081 -r-xr-xr-x  168880  r
www      my daemon    812    5 /jail/www1     99 -rw-r--r--    1024 rw
www      my daemon    812   6* local stream fffff80003b1f000
root     tail         900    3 /jail/www10    12 -rw-r--r--      10  r
"""


def test_the_argv():
    assert fstat.same_file_system("/jail/www1") == ("fstat", "-f", "/jail/www1")
    with pytest.raises(ValueError, match="path: "):
        fstat.same_file_system("relative")


def test_each_process_once_and_of_that_mount_point_alone():
    assert fstat.parse(OUTPUT, "/jail/www1") == (
        fstat.Holder("root", "sh", 4711),
        fstat.Holder("www", "my daemon", 812),
    )
    assert [str(one) for one in fstat.parse(OUTPUT, "/jail/www10")] == ["tail (process 900 of root)"]
    assert fstat.parse(b"", "/jail/www1") == () == fstat.parse(b"fstat: nonsense\n", "/jail/www1")
