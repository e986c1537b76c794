import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from panel import broker
from panel.celery import app

MESSAGE = {"body": "", "headers": {}, "properties": {"delivery_tag": "1", "body_encoding": "base64"}}


@pytest.fixture
def channel(tmp_path: Path):
    with Connection(
        "filesystem://localhost/",
        transport_options={
            "data_folder_in": str(tmp_path),
            "data_folder_out": str(tmp_path),
            "control_folder": str(tmp_path / "control"),
        },
    ) as connection:
        yield connection.channel()


def take_all(channel: broker.Channel) -> list[int]:
    taken = []
    while True:
        try:
            taken.append(channel._get("work")["n"])
        except Empty:
            return taken


def test_it_is_what_the_application_uses() -> None:
    with app.connection_for_write() as connection:
        assert isinstance(connection.transport, broker.Transport)


def test_messages_come_in_the_order_they_were_sent(channel: broker.Channel) -> None:
    for n in range(20):
        channel._put("work", MESSAGE | {"n": n})
    assert take_all(channel) == list(range(20))


def test_a_queue_gets_its_own_messages_alone(channel: broker.Channel) -> None:
    channel._put("work.other", MESSAGE | {"n": 1})
    assert take_all(channel) == []


def test_no_message_is_seen_before_it_is_whole(channel: broker.Channel, tmp_path: Path, monkeypatch) -> None:
    seen = []
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda self, target: (seen.extend(tmp_path.glob("*.msg")), rename(self, target))[1]
    )
    channel._put("work", MESSAGE | {"n": 1})
    assert seen == []
    assert len(list(tmp_path.glob("*.msg"))) == 1


def test_each_message_is_taken_once_by_readers_that_race(channel: broker.Channel) -> None:
    def send(start: int) -> list[int]:
        for n in range(start, start + 150):
            channel._put("work", MESSAGE | {"n": n, "padding": "x" * 20_000})
        return []

    with ThreadPoolExecutor(6) as pool:
        senders = [pool.submit(send, start) for start in (0, 1000)]
        readers = [pool.submit(take_all, channel) for _ in range(4)]
        taken = [n for future in senders + readers for n in future.result()]
    taken += take_all(channel)
    assert sorted(taken) == [*range(150), *range(1000, 1150)]


def test_nothing_is_left_in_the_folder(channel: broker.Channel, tmp_path: Path) -> None:
    channel._put("work", MESSAGE | {"n": 1})
    take_all(channel)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", '{"properties": {}}', '{"properties": {"delivery_tag": "1"}, "body": 7}', "\0"],
)
def test_what_is_no_message_is_thrown_away(channel: broker.Channel, tmp_path: Path, text: str) -> None:
    (tmp_path / "0_forged.work.msg").write_text(text)
    channel._put("work", MESSAGE | {"n": 1})
    assert take_all(channel) == [1]
    assert list(tmp_path.glob("*.*")) == []


def test_what_a_dead_process_left_is_removed_after_a_while(channel: broker.Channel, tmp_path: Path) -> None:
    for name in ("old.work.draft", "old.work.msg.taken", "new.work.draft", "old.work.msg"):
        (tmp_path / name).write_text("")
        if name.startswith("old"):
            os.utime(tmp_path / name, (0, 0))
    channel.connection.client.channel()
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["new.work.draft", "old.work.msg"]
