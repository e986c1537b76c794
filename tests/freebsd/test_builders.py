"""What no builder of argument lists may ever do, whatever it is given."""

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jails.freebsd import fetch, files, ifconfig, jail, jexec, lockf, mount, pw, rcconf, sysctl, tar, uname, zfs, zpool

MODULES = (fetch, files, ifconfig, jail, jexec, lockf, mount, pw, rcconf, sysctl, tar, uname, zfs, zpool)
GOOD = {
    "name": "www1", "file": "/etc/a.conf", "path": "/jail/www1", "dataset": "tank/a", "target": "tank/a@s",
    "old": "tank/a", "new": "tank/b", "origin": "tank/r@s", "source": "/jail/x", "tag": "keep", "jail": "www1",
    "url": "http://x/y", "output": "/tmp/x", "archive": "/tmp/a.txz", "directory": "/jail/www1", "user": "root",
    "interface": "em0", "bridge": "bridge0", "address": "192.0.2.1/32", "description": "x", "kind": "epair",
    "ether": "02:00:00:00:00:01", "pool": "tank", "pools": "tank", "paths": "/", "value": "v", "mode": "0755",
    "property_name": "quota", "owner": "root", "group": "wheel", "root": "/jail/www1", "since": "tank/a@r",
    "roots": "tank", "targets": "tank/a@s", "script": "true", "command": ("true",), "parameters": {"persist": True},
    "ruleset": 4, "size": 1024, "snapshot": "tank/a@s",
}  # fmt: skip
SPECIAL = {
    (zfs.send, "source"): "tank/a@s",
    (zfs.snapshot, "name"): "snap",
    (zfs.get, "properties"): ["used"],
    (zfs.set_properties, "properties"): {"quota": "1"},
    (ifconfig.rename, "new"): "em9",
    (files.link, "target"): "/jail/x",
    (sysctl.set_value, "name"): "hw.x",
    (sysctl.set_value, "value"): 1,
    (rcconf.get, "name"): "x",
}
# Words that a caller writes itself: a script and what it is given.
FREE = {"script", "arguments"}
HOSTILE = ["-rf", "--help", "a\nb", "a\0b", "\n", "аlpha", "a\u202eb", "x" * 9000, "a\rb", "\x1b[2J"]
# Any one line may stand here: behind `NAME=`, and as the last word of ifconfig's description.
TEXTS = {"value": {"-rf", "--help", "аlpha"}, "description": {"аlpha"}}
# Options whose argument is empty by default, and tar's standard output, which takes no -a.
OPTIONAL = {"-f", "-U", "-R", "-i", "-r", "-"}


def is_builder(function, module):
    returns = inspect.signature(function).return_annotation
    return function.__module__ == module.__name__ and function.__name__[0] != "_" and str(returns) == "tuple[str, ...]"


CASES = [
    pytest.param(function, parameter.name, id=f"{module.__name__.rpartition('.')[2]}.{name}-{parameter.name}")
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if is_builder(function, module)
    for parameter in inspect.signature(function).parameters.values()
    if parameter.annotation is str and parameter.name not in FREE
]


def call(function, **changed):
    """With good values for all that is required, and with `changed`."""
    several, keywords = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        value = changed.get(name, SPECIAL.get((function, name), GOOD.get(name)))
        if parameter.kind is parameter.VAR_POSITIONAL:
            several = [value] if name not in FREE else []
        elif name in changed or parameter.default is parameter.empty:
            keywords[name] = value
    if not several:
        return function(**keywords)
    return function(*keywords.values(), *several)


def test_all_builders_are_found():
    assert len(CASES) > 90


@pytest.mark.parametrize(("function", "parameter"), CASES)
def test_the_good_values_of_these_tests_are_good(function, parameter):
    assert call(function)[0]


@pytest.mark.parametrize(("function", "parameter"), CASES)
def test_hostile_values_are_refused_by_name(function, parameter):
    for value in HOSTILE:
        if value in TEXTS.get(parameter, ()):
            continue
        with pytest.raises(ValueError, match=rf"^{parameter}: "):
            call(function, **{parameter: value})


@pytest.mark.parametrize(("function", "parameter"), CASES)
@settings(max_examples=40)
@given(value=st.text(max_size=40) | st.sampled_from(["-a", "/a", "a@b", "a/b@-c", "1", "::1", "-", "a=b", "a", "/a/b"]))
def test_no_word_becomes_an_option_or_a_second_line(function, parameter, value):
    options = {word for word in call(function) if word.startswith("-")} | OPTIONAL
    try:
        words = call(function, **{parameter: value})
    except ValueError as refused:
        assert str(refused).startswith((f"{parameter}: ", "new: "))
        return
    assert {word for word in words if word.startswith("-")} <= options
    assert not any("\n" in word or "\0" in word for word in words)
