import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.operations.transcript import HEAD, HIDDEN, LINE, TAIL, Transcript, safe


def kept(data: bytes, *secrets: str, pieces: int = 1) -> str:
    transcript = Transcript(secrets)
    for start in range(0, len(data), max(1, len(data) // pieces)):
        transcript.feed(data[start : start + max(1, len(data) // pieces)])
    return transcript.finish()


def test_head_and_tail_are_kept():
    text = kept(b"".join(b"line %06d\n" % n for n in range(20_000)))
    assert text.startswith("line 000000\n") and text.endswith("line 019999\n")
    assert "characters left out" in text and len(text) < HEAD + TAIL + LINE + 100


def test_output_without_newlines_is_bounded():
    assert len(kept(b"x" * 1_000_000)) < HEAD + TAIL + LINE + 1000


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
def test_a_secret_does_not_slip_through_in_pieces(pieces):
    assert "hunter2" not in kept(b"before hunter2 after\nx" * 50, "hunter2\n", pieces=pieces)


def test_each_line_of_a_secret_is_hidden():
    text = kept(b"first line\nsecond part\n", "first line\nsecond part")
    assert text == f"{HIDDEN}\n{HIDDEN}\n"


def test_a_secret_across_the_break_of_an_endless_line():
    data = b"x" * (LINE - 3) + b"hunter2" + b"y" * (3 * LINE)
    assert "hunter2" not in kept(data, "hunter2").replace("\n", "")


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("root:$6$abcdefgh$0123456789abcdefghij:0:0", "$6$abcdefgh"),
        ("fetch https://user:pa55@example.org/base.txz", "pa55"),
        ("password=correct horse", "horse"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(line, secret):
    text = kept(line.encode())
    assert secret not in text and HIDDEN in text


def test_a_private_key_is_hidden_as_a_whole():
    text = kept(b"a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE KEY-----\nz\n")
    assert "b3BlbnNzaC1r" not in text and text.startswith("a\n") and text.endswith("z\n")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\x00b\x07", "a\\x00b\\x07"),
        ("file\u202etxt.exe", "file\\u202etxt.exe"),
        ("tab\tstays é", "tab\tstays é"),
    ],
)
def test_control_characters_are_made_visible(raw, shown):
    assert safe(raw) == shown


def test_carriage_returns_of_a_progress_display_are_lines():
    assert kept(b"10%\r20%\r30%\n") == "10%\n20%\n30%\n"


def test_bytes_that_are_no_text_are_replaced():
    assert kept(b"\xff\xfe\n") == "\N{REPLACEMENT CHARACTER}" * 2 + "\n"


@given(st.binary(max_size=300), st.integers(1, 50))
def test_how_it_is_cut_into_pieces_makes_no_difference(data, pieces):
    assert kept(data, "hunter2", pieces=pieces) == kept(data, "hunter2")
