import asyncio
import io

import pytest

from jails.consoles import frames


def read_all(content):
    async def go():
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        found = []
        while (frame := await frames.read(reader)) is not None:
            found.append(frame)
        return found

    return asyncio.run(go())


def test_there_and_back():
    content = frames.data(b"x" * (frames.LARGEST + 3)) + frames.message({"a": "ü"})
    found = read_all(content)
    assert [(kind, len(part)) for kind, part in found[:2]] == [(b"d", frames.LARGEST), (b"d", 3)]
    assert frames.parsed(found[2][1]) == {"a": "ü"}
    file = io.BytesIO(content)
    assert [frames.read_from(file) for _ in range(4)] == [*found, None]


@pytest.mark.parametrize(
    "content", [b"d\0\0\0", b"d\0\0\0\5ab", b"x\0\0\0\1a", b"d\0\1\0\1" + b"a" * 65537, b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_frame(content):
    with pytest.raises(frames.Malformed):
        read_all(content)
    with pytest.raises(frames.Malformed):
        frames.read_from(io.BytesIO(content))


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"[" * 10_000, b"\xff"])
def test_what_is_no_object(text):
    with pytest.raises(frames.Malformed):
        frames.parsed(text)


def test_a_message_has_an_end():
    with pytest.raises(ValueError, match="longer"):
        frames.message({"a": "x" * frames.LARGEST})
