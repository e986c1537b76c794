from __future__ import annotations

from pathlib import Path

import pytest

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "host", directories=["/base", "/jail", "/jail/www1", "/jail/www1/mnt"])


def test_nullfs_shows_the_files_of_another_directory(machine: Machine) -> None:
    machine.run("mount_nullfs", "/base", "/jail/www1/mnt")
    machine.write("/base/file")
    assert machine.exists("/jail/www1/mnt/file")
    machine.run("umount", "/jail/www1/mnt")
    assert not machine.exists("/jail/www1/mnt/file")


def test_a_mount_on_itself_is_a_deadlock(machine: Machine) -> None:
    outcome = machine.run("mount_nullfs", "/base", "/base")
    assert (outcome.rc, outcome.err) == (1, "mount_nullfs: /base: Resource deadlock avoided\n")


def test_what_holds_a_mount_keeps_it(machine: Machine) -> None:
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/jail/www1/mnt")
    machine.run("jail", "-c", "name=a", "path=/jail/www1/mnt", "persist")
    outcome = machine.run("umount", "/jail/www1/mnt")
    assert (outcome.rc, outcome.err) == (1, "umount: unmount of /jail/www1/mnt failed: Device busy\n")
    machine.run("jail", "-r", "a")
    assert machine.run("umount", "/jail/www1/mnt").rc == 0


def test_a_jail_that_has_died_keeps_nothing(machine: Machine) -> None:
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/jail/www1/mnt")
    machine.run("jail", "-c", "name=a", "path=/jail/www1/mnt", "persist")
    with machine.host.changing() as state:
        state["dying"] = 60
    machine.run("jail", "-r", "a")
    assert machine.run("umount", "/jail/www1/mnt").rc == 1
    with machine.host.changing() as state:
        state["jails"][0]["dying"] -= 61
    assert machine.run("umount", "/jail/www1/mnt").rc == 0


def test_a_mount_below_another_keeps_it(machine: Machine) -> None:
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/jail/www1")
    machine.run("mkdir", "/jail/www1/in")
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/jail/www1/in")
    assert machine.run("umount", "/jail/www1").rc == 1


def test_tmpfs_forgets(machine: Machine) -> None:
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    machine.write("/mnt/file")
    machine.run("umount", "/mnt")
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    assert not machine.exists("/mnt/file")


def test_unknown_types_and_options_are_refused(machine: Machine) -> None:
    assert machine.run("mount", "-t", "nosuchfs", "x", "/mnt").err == "mount: x: Operation not supported by device\n"
    outcome = machine.run("mount", "-t", "tmpfs", "-o", "nosuch=1", "tmpfs", "/mnt")
    assert outcome.err == "mount: tmpfs: mount option <nosuch> is unknown: Invalid argument\n"


def test_devfs_of_a_jail_has_few_devices(machine: Machine) -> None:
    machine.run("mount", "-t", "devfs", "-oruleset=4", ".", "/mnt")
    assert machine.exists("/mnt/null") and not machine.exists("/mnt/mem")


def test_a_jail_may_mount_only_what_it_is_allowed(machine: Machine) -> None:
    machine.run("jail", "-c", "name=a", "path=/", "persist")
    refused = machine.run("jexec", "a", "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    assert (refused.rc, refused.err) == (1, "mount: tmpfs: Operation not permitted\n")
    machine.run("jail", "-m", "name=a", "allow.mount", "allow.mount.tmpfs", "enforce_statfs=1")
    assert machine.run("jexec", "a", "mount", "-t", "tmpfs", "tmpfs", "/mnt").rc == 0


def test_a_symbolic_link_in_a_jails_tree_is_no_place_to_mount(machine: Machine) -> None:
    machine.host.path("/jail/www1/dev", follow=False).symlink_to("/base")
    outcome = machine.run("jail", "-c", "name=a", "path=/jail/www1", "mount.devfs", "persist")
    assert (outcome.rc, outcome.err) == (1, "jail: mount.devfs: /jail/www1/dev is a symbolic link\n")
