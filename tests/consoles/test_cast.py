import hashlib
import json
import os
import stat
import time

import pytest

from jails.consoles import cast


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder(tmp_path, clock):
    return cast.Recorder(tmp_path / "a" / "x.cast", {"width": 80, "height": 24}, largest=4000, clock=clock)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_format(recorder, clock):
    recorder.shown(b"hello\r\n")
    clock.now += 1.5
    recorder.resized(100, 30)
    recorder.note("It ended.")
    digest = recorder.finish()
    assert lines_of(recorder.path) == [
        {"version": 2, "width": 80, "height": 24},
        [0.0, "o", "hello\r\n"],
        [1.5, "r", "100x30"],
        [1.5, "m", "It ended."],
    ]
    assert digest == hashlib.sha256(recorder.path.read_bytes()).hexdigest()
    assert recorder.size == recorder.path.stat().st_size


def test_it_is_for_its_owner_alone_and_there_only_when_whole(recorder):
    assert not recorder.path.exists()
    recorder.shown(b"x")
    assert stat.S_IMODE(os.stat(recorder.draft).st_mode) == 0o600
    recorder.finish()
    assert stat.S_IMODE(os.stat(recorder.path).st_mode) == 0o600
    assert not recorder.draft.exists()


def test_characters_that_come_in_pieces_stay_whole(recorder):
    for byte in "né☃".encode():
        recorder.shown(bytes([byte]))
    recorder.shown(b"\xff")
    recorder.shown("☃".encode()[:1])
    recorder.finish()
    shown = "".join(text for _, kind, text in lines_of(recorder.path)[1:] if kind == "o")
    assert shown == "né☃\ufffd\ufffd"


def test_a_full_one_says_so_once_and_still_ends(recorder):
    for _ in range(100):
        recorder.shown(b"0" * 100)
    recorder.note("It ended.")
    recorder.finish()
    notes = [text for _, kind, text in lines_of(recorder.path)[1:] if kind == "m"]
    assert recorder.cut and notes == [cast.CUT, "It ended."] and recorder.size <= 4000


def test_what_a_killed_process_left(recorder):
    recorder.shown(b"one\r\n")
    with open(recorder.draft, "ab") as file:
        file.write(b'[1.0, "o", "ha')
    digest, size = cast.rescue(recorder.path)
    assert lines_of(recorder.path)[-1][2] == "one\r\n"
    assert (digest, size) == cast.digest_of(recorder.path)
    assert cast.rescue(recorder.path) == (digest, size)


def test_nothing_to_rescue(tmp_path):
    assert cast.rescue(tmp_path / "nothing.cast") is None


def test_as_text():
    lines = [
        json.dumps({"version": 2}),
        json.dumps([0, "o", "\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\n"]),
        json.dumps([1, "o", "passworx\b \bd\r\n"]),
        json.dumps([1, "r", "80x24"]),
        json.dumps([1, "o", "10%\r 50%\r100%\r\n\x07<b>\x9b31m"]),
        json.dumps([2, "m", "It ended."]),
        "no json",
        json.dumps({"an": "object"}),
    ]
    assert cast.text_of(lines) == "red\npassword\n100%\n<b>31m\n[It ended.]\n"


def test_text_of_a_terminal_has_no_control_characters():
    text = cast.plain("".join(map(chr, range(256))) + "\x1bP1$q\x1b\\end")
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text)
    assert text.endswith("end")


def test_strings_that_are_never_ended_cost_as_much_as_their_length():
    def work(size):
        text = "\x1b]0;" * size + "end"
        times = []
        for _ in range(3):
            begun = time.process_time()
            cast.plain(text)
            times.append(time.process_time() - begun)
        return min(times)

    assert work(40_000) < 10 * work(10_000)


def test_a_string_ends_where_a_terminal_gives_it_up():
    assert cast.plain("a\x1b]0;title\x07b\x1bPq\x1b\\c\x1b_x\x18d\x1b^x\x1ae\x1b]0;x\x1b[1mf\x1bXnever") == "abcdef"


class Full:
    """A file on a disk that is full after so many bytes: the last write is a part of what was given."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self.file.write(content[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_disk_that_is_full_leaves_whole_lines_and_the_digest_of_them(recorder):
    recorder.shown(b"one")
    recorder._file = Full(recorder._file, 10)
    with pytest.raises(OSError, match="No space"):
        recorder.shown(b"two, which is longer")
    recorder._file.room = 1000
    recorder.note("end")
    digest = recorder.finish()
    assert [line[2] for line in lines_of(recorder.path)[1:]] == ["one", "end"]
    assert digest == hashlib.sha256(recorder.path.read_bytes()).hexdigest()
