import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jails.freebsd import boot

NAMES = [f"jail{n}" for n in range(6)]
LISTS = st.lists(st.sampled_from(NAMES), unique=True, max_size=5)


def rc_after(rc_conf, change):
    """What sysrc leaves behind: the last assignment counts."""
    return rc_conf + "".join(f'{word.partition("=")[0]}="{word.partition("=")[2]}"\n' for _, word in change.commands)


def started(rc_conf, everything):
    """The loop of rc.d/jail, run by a real sh."""
    script = rc_conf + '\ncase $jail_enable in YES) ;; *) exit;; esac\nset -- ${jail_list:-_ALL}\necho "$@"'
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    return list(everything) if found == ["_ALL"] else found


@st.composite
def hosts(draw):
    everything = draw(LISTS)
    rc_conf = draw(st.sampled_from(["", 'jail_enable="NO"\n', 'jail_enable="YES"\n']))
    if draw(st.booleans()):
        rc_conf += f'jail_list="{" ".join(draw(LISTS))}"\n'
    return rc_conf, everything, draw(st.booleans())


@settings(max_examples=200, deadline=None)
@given(hosts(), st.data())
def test_no_other_jail_changes_its_boot(host, data):
    rc_conf, everything, includes = host
    state = boot.boot_state(rc_conf, everything, includes_folder=includes)
    before = started(rc_conf, everything)
    assert list(state.boots_today) == before
    remove = data.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    add = data.draw(st.lists(st.sampled_from([n for n in [*NAMES, "new"] if n not in remove]), unique=True, max_size=3))
    change = boot.boot_change(state, add=add, remove=remove)
    # The file of an added jail is there, in the folder, by the time the host boots.
    later = [*everything, *(name for name in add if includes and name not in everything)]
    after = started(rc_after(rc_conf, change), later)
    expected = [name for name in before if name not in remove]
    expected += [name for name in add if name not in expected]
    assert set(after) == set(expected) == set(change.after)
    if change.jail_list is not None or state.mode == "list":
        assert after == expected


@settings(max_examples=100, deadline=None)
@given(hosts(), st.data())
def test_destroyed_and_renamed_jails_leave_the_others_alone(host, data):
    rc_conf, everything, includes = host
    state = boot.boot_state(rc_conf, everything, includes_folder=includes)
    gone, old = data.draw(st.permutations(NAMES))[:2]
    change = boot.boot_change(state, rename={old: "renamed"}, destroyed=[gone])
    later = ["renamed" if name == old else name for name in everything if name != gone]
    expected = ["renamed" if name == old else name for name in started(rc_conf, everything) if name != gone]
    assert set(started(rc_after(rc_conf, change), later)) == set(expected)


@given(hosts())
def test_stopping_between_two_commands_starts_nothing_else(host):
    rc_conf, everything, includes = host
    state = boot.boot_state(rc_conf, everything, includes_folder=includes)
    change = boot.boot_change(state, add=["new"])
    if state.mode == "off":
        assert [argv[1].partition("=")[0] for argv in change.commands] == ["jail_list", "jail_enable"]


def test_the_first_name_of_a_list_brings_all_others_with_it():
    state = boot.boot_state('jail_enable="YES"\n', ["db", "web"])
    change = boot.boot_change(state, add=["new"])
    assert change.commands == (("sysrc", "jail_list=db web new"),)
    assert (change.before, change.after) == (("db", "web"), ("db", "web", "new"))


def test_a_file_that_is_included_needs_no_list():
    state = boot.boot_state("jail_enable=YES", ["db"], includes_folder=True)
    assert boot.boot_change(state, add=["new"]).commands == ()


def test_not_to_boot_needs_a_list_where_everything_is_included():
    state = boot.boot_state("jail_enable=YES", ["db", "web", "new"], {"new", "web"}, includes_folder=True)
    change = boot.boot_change(state, remove=["new"])
    assert change.commands == (("sysrc", "jail_list=db web"),)
    assert change.read_alone == ("web",)


def test_a_destroyed_jail_needs_no_list():
    state = boot.boot_state("jail_enable=YES", ["db", "web"], includes_folder=True)
    assert boot.boot_change(state, destroyed=["web"]).commands == ()


def test_the_last_name_taken_out_does_not_start_everything():
    state = boot.boot_state('jail_enable=YES\njail_list="web"\n', ["db", "web"])
    change = boot.boot_change(state, remove=["web"])
    assert change.commands == (("sysrc", "jail_enable=NO"), ("sysrc", "jail_list="))


def test_enabling_does_not_start_what_was_listed_while_it_was_off():
    state = boot.boot_state('jail_enable=NO\njail_list="old"\n', ["old", "db"])
    change = boot.boot_change(state, add=["new"])
    assert change.jail_enable_needed
    assert change.commands == (("sysrc", "jail_list=new"), ("sysrc", "jail_enable=YES"))


def test_a_jail_that_no_list_can_start_is_not_silently_lost():
    state = boot.boot_state("jail_enable=YES", ["has.dot"])
    with pytest.raises(ValueError, match=r"has\.dot"):
        boot.boot_change(state, add=["new"])


@pytest.mark.parametrize("rc_conf", ["jail_list=$(ls /j)", ". /etc/rc.local.conf", "jail_conf=/root/jail.conf"])
def test_what_cannot_be_understood_is_refused(rc_conf):
    with pytest.raises(ValueError, match=r"rc\.conf"):
        boot.boot_state(f"jail_enable=YES\n{rc_conf}\n", ["db"])


def test_adding_a_hostile_name_is_refused():
    with pytest.raises(ValueError, match="add"):
        boot.boot_change(boot.boot_state(""), add=['x"; reboot; "'])


def test_nothing_to_change_changes_nothing():
    state = boot.boot_state('jail_enable=YES\njail_list="b a"\n', ["a", "b"])
    assert boot.boot_change(state, add=["a"], remove=["c"]).commands == ()


def listing(*listed):
    return boot.boot_state(f'jail_enable="YES"\njail_list="{" ".join(listed)}"\n')


@given(st.permutations(NAMES), st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
def test_what_is_taken_out_finds_its_place_again(listed, removed):
    left = boot.boot_change(listing(*listed), remove=removed).after
    assert boot.boot_change(listing(*left), add=removed, order=listed).after == tuple(listed)


def test_what_no_order_knows_goes_to_the_end():
    assert boot.boot_change(listing("a", "b"), add=["new"], order=["b", "a"]).after == ("a", "b", "new")


def test_a_list_that_does_not_count_loses_what_goes_as_well():
    state = boot.boot_state('jail_enable=NO\njail_list="old www1"\n')
    change = boot.boot_change(state, destroyed=["www1"])
    assert change.commands == (("sysrc", "jail_list=old"),) and change.before == change.after == ()
    assert boot.boot_change(state, destroyed=["other"]).commands == ()
