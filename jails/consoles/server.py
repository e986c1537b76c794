"""consoled: one process with the workers' rights that has all consoles, and all logs that are followed. Whoever may
write to its socket may ask.

It believes nobody: a ticket is asked of the database, the policy of the tables as they are now, and every few seconds
again. Each open console costs a task and no thread. Everything that blocks, the database and hosts, is done by threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import socket
import stat
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error, close_old_connections
from django.utils import timezone

from jails.consoles import cast, frames, reach, records, retention, tickets
from jails.consoles.following import Follower
from jails.consoles.tickets import Opening, Refused
from jails.freebsd import console as terminals
from jails.freebsd import logs
from jails.freebsd.command import Pipeline
from jails.hosts import connect
from jails.hosts.connection import CommandTimeout, HostUnavailable, Stream
from jails.looks import looking
from jails.models import Console, Jail

log = logging.getLogger(__name__)
T = TypeVar("T")
Ended = Console.Ended

AHEAD = 256 * 1024
"""Bytes that may be on their way to a browser that has not said that it showed them."""
WARNING = 60
"""Seconds before an end that somebody typing can prevent."""
HOST_SECONDS = 20
REQUEST_SECONDS = 10
COMMAND_LONGEST = 8192
"""Bytes of one command."""
COMMAND_OUTPUT = 256 * 1024
OWED = 2000
"""Ends of consoles that are kept while no database takes them; those beyond are written by the next consoled."""
TIDY_SECONDS = 3600
_CONTROL_LONGEST = 4096


class Consoled:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        # One thread has the database: what is asked of it is short, and in order.
        self.database = ThreadPoolExecutor(1, "database")
        self.hosts = ThreadPoolExecutor(settings.CONSOLE_THREADS, "hosts")
        # A command keeps its thread until it ends: no terminal waits for that.
        self.commands = ThreadPoolExecutor(settings.CONSOLE_COMMANDS, "commands")
        self.open: set[reach.Relay] = set()
        self.places: Counter[tuple[str, int]] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()
        self.owed: deque[tuple[Console, str, dict[str, Any]]] = deque()
        self.stopping = asyncio.Event()

    async def in_database(self, function: Callable[..., T], *words: Any, **named: Any) -> T:
        return await self.loop.run_in_executor(self.database, lambda: _with_database(function, *words, **named))

    async def on_host(self, function: Callable[..., T], *words: Any) -> T:
        return await self.loop.run_in_executor(self.hosts, function, *words)

    async def serve(self, path: Path, ready: Callable[[], None] = lambda: None) -> None:
        """Until a signal. OSError where another one has the socket."""
        with alone(path):
            left = await self.in_database(records.rescue)
            if left:
                log.warning("%d consoles were open when consoled last ended", left)
            server = await asyncio.start_unix_server(self.connected, sock=listening(path), limit=frames.LARGEST * 2)
            for number in (signal.SIGINT, signal.SIGTERM):
                self.loop.add_signal_handler(number, self.stopping.set)
            background = [asyncio.create_task(self._look_after()), asyncio.create_task(self._tidy())]
            ready()
            await self.stopping.wait()
            server.close()
            await reach.put_down(background)
            for one in list(self.open):
                one.end(Ended.SERVICE)
            if self.tasks:
                await asyncio.wait(self.tasks, timeout=reach.FAREWELL + 3)
            await self._write_owed()
            path.unlink(missing_ok=True)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        writer.transport.set_write_buffer_limits(high=frames.LARGEST)
        try:
            await self._answer(reader, writer)
        except (frames.Malformed, ConnectionError, TimeoutError) as problem:
            log.info("a connection ended: %s", problem or type(problem).__name__)
        except Exception:
            log.exception("a request failed")
        finally:
            self.tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frame = await asyncio.wait_for(frames.read(reader), REQUEST_SECONDS)
        if frame is None:
            return
        request = frames.parsed(frame[1]) if frame[0] == frames.JSON else {}
        answers = {"open": self._open, "run": self._run, "read": self._read, "follow": self._follow}
        answer = answers.get(str(request.get("do")))
        if answer is None:
            raise frames.Malformed("no such request")
        try:
            await answer(request, reader, writer)
        except Refused as refused:
            writer.write(frames.message({"refused": str(refused)}))
            await writer.drain()

    # A console

    async def _open(self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = _size(request)
        opening = await self.in_database(_redeem, request)
        with self._place(opening):
            console = await self.in_database(records.begin, opening, Console.Kind.TERMINAL.value)
            try:
                terminal = Terminal(self, opening, console, reader, writer, *size)
            except OSError as error:
                await self._give_up(console)
                raise Refused("Nothing can be recorded, so nothing is opened.") from error
            await self._live(terminal)

    async def _live(self, one: reach.Relay) -> None:
        self.open.add(one)
        try:
            await one.live()
        finally:
            self.open.discard(one)

    def _place(self, opening: Opening) -> Any:
        """One of the consoles that a person, a tenant and the whole panel may have at once. Raises Refused."""
        wanted = {("all", 0): settings.CONSOLES, ("user", opening.user.pk): settings.CONSOLES_PER_USER}
        if opening.jail.tenant_id is not None:
            wanted["tenant", opening.jail.tenant_id] = settings.CONSOLES_PER_TENANT
        who = {"all": "The panel has", "user": "You have", "tenant": "Your team has"}
        return self._held(wanted, lambda key, most: f"{who[key]} {most} consoles open already: close one first.")

    @contextlib.contextmanager
    def _held(self, wanted: dict[tuple[str, int], int], words: Callable[[str, int], str]) -> Any:
        """One of so many, of each of these. Raises Refused."""
        for key, most in wanted.items():
            if self.places[key] >= most:
                raise Refused(words(key[0], most))
        self.places.update(wanted.keys())
        try:
            yield
        finally:
            self.places.subtract(wanted.keys())
            self.places += Counter()  # what is at nought goes

    def _turn(self, jail: Jail) -> Any:
        """One of the commands that run at once, on a host and anywhere. Raises Refused."""
        most = {("host", jail.host_id): settings.CONSOLE_COMMANDS_PER_HOST, ("commands", 0): settings.CONSOLE_COMMANDS}
        return self._held(most, lambda *_: "Too many commands run at the moment: try again in a few seconds.")

    async def _look_after(self) -> None:
        """Ask again and again whether each may still be open; what cannot be asked is ended when it stays so."""
        failures = 0
        while True:
            await asyncio.sleep(settings.CONSOLE_POLL_SECONDS)
            await self._write_owed()
            open_now = list(self.open)
            try:
                reasons = await self.in_database(tickets.ended_rights, [one.opening for one in open_now])
                failures = 0
            except Exception:
                failures += 1
                log.exception("rights could not be asked for")
                reasons = [Ended.SERVICE.value if failures >= 3 else ""] * len(open_now)
            for one, reason in zip(open_now, reasons, strict=True):
                if reason:
                    one.end(Ended(reason))

    async def _tidy(self) -> None:
        """Remove old recordings, in a thread of its own: it may take long."""
        while True:
            try:
                count = await asyncio.to_thread(_with_database, retention.remove_old)
                if count:
                    log.info("%d recordings were removed because they were old", count)
            except Exception:
                log.exception("old recordings could not be removed")
            await asyncio.sleep(TIDY_SECONDS)

    # A log that is followed

    async def _follow(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        text = _text(request, "text")
        if problem := logs.text_error(text):
            raise Refused(f"What is searched for {problem}")
        opening = await self.in_database(_redeem, request, tickets.FOLLOW)
        most = {
            ("logs", 0): settings.FOLLOWS,
            ("logs of user", opening.user.pk): settings.FOLLOWS_PER_USER,
            ("logs of jail", opening.jail.pk): settings.FOLLOWS_PER_JAIL,
        }
        with self._held(most, _too_many_logs):
            await self.in_database(records.note_follower, opening)
            await self._live(Follower(self, opening, text, reader, writer))

    # One command

    async def _run(self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = request.get("text")
        if not isinstance(text, str) or not text.strip():
            raise Refused("Type a command.")
        if len(text.encode("utf-8", "replace")) > COMMAND_LONGEST:
            raise Refused(f"A command has {COMMAND_LONGEST} bytes at most.")
        if "\0" in text:
            raise Refused("A command cannot hold NUL.")
        opening = await self.in_database(_redeem, request)
        with self._place(opening), self._turn(opening.jail):
            console = await self.in_database(records.begin, opening, Console.Kind.COMMAND.value, text=text)
            try:
                recorder = _recorder(console, 80, 24)
            except OSError as error:
                await self._give_up(console)
                raise Refused("Nothing can be recorded, so nothing is run.") from error
            ended, words, result = await self.loop.run_in_executor(self.commands, _command, opening, text)
            output, status = (result.stdout, result.rc) if result is not None else (b"", None)
            try:
                recorder.shown(output.replace(b"\n", b"\r\n"))
            except OSError:
                log.exception("what a command printed could not be recorded")
                words = words or "What it printed could not be recorded."
            await self._close(console, recorder, ended, status)
            writer.write(frames.data(output))
            cut = bool(result is not None and result.truncated)
            writer.write(frames.message({"ended": ended, "words": words, "status": status, "cut": cut}))
            await writer.drain()

    async def _give_up(self, console: Console) -> None:
        log.error("no recording can be written below %s", settings.CONSOLE_RECORDINGS)
        await self._write_end(console, Ended.FAILED, status=None, digest="", size=0, cut=False)

    async def _close(self, console: Console, recorder: cast.Recorder, ended: Ended, status: int | None) -> None:
        try:
            digest = await asyncio.to_thread(recorder.finish)
        except OSError:
            log.exception("a recording could not be finished")
            digest = ""
        await self._write_end(console, ended, status=status, digest=digest, size=recorder.size, cut=recorder.cut)

    async def _write_end(self, console: Console, ended: Ended, **values: Any) -> None:
        """That it has ended, now or as soon as there is a database that takes it."""
        values["at"] = timezone.now()
        try:
            await self.in_database(records.end, console, ended.value, **values)
        except Error:
            log.exception("the end of a console could not be written, and is tried again")
            if len(self.owed) < OWED:
                self.owed.append((console, ended.value, values))

    async def _write_owed(self) -> None:
        """The oldest first; one that the database does not take now is the first next time."""
        while self.owed:
            console, ended, values = owed = self.owed.popleft()
            try:
                await self.in_database(records.end, console, ended, **values)
            except Error:
                self.owed.appendleft(owed)
                return
            except Exception:
                # Its row stays open, and is ended by the next consoled (records.rescue).
                log.exception("the end of a console could not be written")

    # A recording

    async def _read(self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        console, path, is_whole = await self.in_database(
            records.read, _text(request, "session"), _text(request, "console"), source=_text(request, "source")
        )
        writer.write(frames.message({"size": path.stat().st_size, "whole": is_whole, "digest": console.digest}))
        with open(path, "rb") as file:
            while part := file.read(frames.LARGEST):
                writer.write(frames.data(part))
                await writer.drain()


class Terminal(reach.Relay):
    """One open console, with a terminal in the jail."""

    what, failure = "a console", "Something went wrong in the console service."

    def __init__(
        self,
        consoled: Consoled,
        opening: Opening,
        console: Console,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        columns: int,
        rows: int,
    ) -> None:
        super().__init__(consoled, opening, reader, writer)
        self.console = console
        self.columns, self.rows = columns, rows
        self.tokens = terminals.Tokens(secrets.token_hex(16), secrets.token_hex(16))
        self.jid = 0
        self.tty = ""
        self.status: int | None = None
        self.last_typed = self.begun = time.monotonic()
        self.sent = self.seen = 0
        self.room = asyncio.Event()
        self.resized = asyncio.Event()
        self.is_warned = False
        self.recorder = _recorder(console, columns, rows)

    async def _close(self) -> None:
        ended = self.ended or Ended.LEFT
        try:
            self.recorder.note(ended.label)
        except OSError:
            log.exception("the end of a recording could not be written")
        try:
            await self.consoled._close(self.console, self.recorder, ended, self.status)
        finally:
            await self._tell({"ended": ended.value, "words": self.words or ended.label, "status": self.status})

    async def _begin(self) -> Stream | None:
        try:
            self.jid, connection = await self.consoled.on_host(reach.inside, self.opening)
            words = terminals.terminal(self.jid, self.opening.login, self.tokens, columns=self.columns, rows=self.rows)
            stream = await self.consoled.on_host(connection.stream, words, self.consoled.loop)
        except looking.Refused as problem:
            self.end(Ended.JAIL, str(problem))
            return None
        except (HostUnavailable, CommandTimeout) as problem:
            self.end(Ended.HOST, f"{Ended.HOST.label} {problem}" if self.opening.jail.tenant_id is None else "")
            return None
        await self._tell({"open": str(self.console.pk), "idle": settings.CONSOLE_IDLE_SECONDS})
        return stream

    def _parts(self, stream: Stream) -> tuple[Coroutine[Any, Any, None], ...]:
        return (
            self._from_jail(stream),
            self._told(stream),
            self._from_browser(stream),
            self._resize(),
            self._watch(),
        )

    async def _from_jail(self, stream: Stream) -> None:
        """What is shown: first into the recording, then out. Nothing more is taken while a browser is behind."""
        while content := await stream.read():
            while self.sent - self.seen > AHEAD:
                self.room.clear()
                await self.room.wait()
            if self.ended not in (None, Ended.EXIT):
                return
            self.recorder.shown(content)
            self.sent += len(content)
            self.writer.write(frames.data(content))
            await self.writer.drain()

    async def _told(self, stream: Stream) -> None:
        """What the jail's side says beside the terminal: its name, and the end. Its own end without one is a loss."""
        text = b""
        while part := await stream.read_error():
            text = (text + part)[-_CONTROL_LONGEST:]
            tty, status = terminals.told(text, self.tokens)
            if tty and not self.tty:
                self.tty = tty
                self.resized.set()
            if status is not None:
                self.status = status
                self.end(*self._how_it_ended(status))
                return
        self.end(Ended.HOST)

    def _how_it_ended(self, status: int) -> tuple[Ended, str]:
        if not self.tty:
            return Ended.FAILED, f"{Ended.FAILED.label} Is there a user {self.opening.login}, and /dev in the jail?"
        return Ended.EXIT, "The shell ended."

    async def _from_browser(self, stream: Stream) -> None:
        while True:
            frame = await frames.read(self.reader)
            if frame is None:
                self.end(Ended.LEFT)
                return
            kind, content = frame
            if kind == frames.DATA:
                self.last_typed, self.is_warned = time.monotonic(), False
                await stream.write(content)
            else:
                self._hear(frames.parsed(content))

    def _hear(self, said: dict[str, Any]) -> None:
        seen = said.get("seen")
        if isinstance(seen, int) and self.seen < seen <= self.sent:
            self.seen = seen
            self.room.set()
        if "columns" in said:
            self.columns, self.rows = _size(said)
            self.resized.set()

    async def _resize(self) -> None:
        """The size is told to the terminal from inside the jail; of many changes at once the last."""
        told = (self.columns, self.rows)
        while True:
            await self.resized.wait()
            await asyncio.sleep(0.2)
            self.resized.clear()
            size = (self.columns, self.rows)
            if size == told or not self.tty:
                continue
            told = size
            self.recorder.resized(*size)
            words = terminals.resize(self.jid, self.opening.login, self.tty, columns=size[0], rows=size[1])
            with contextlib.suppress(HostUnavailable, CommandTimeout):
                await self.consoled.on_host(_quietly, self.opening.jail, words)

    async def _watch(self) -> None:
        """Idle and total time. Only what is typed counts: a page that is left open on a clock is idle."""
        while True:
            now = time.monotonic()
            idle = self.last_typed + settings.CONSOLE_IDLE_SECONDS - now
            total = self.begun + settings.CONSOLE_TOTAL_SECONDS - now
            if min(idle, total) <= 0:
                self.end(Ended.IDLE if idle <= total else Ended.TIME)
                return
            if min(idle, total) <= WARNING and not self.is_warned:
                self.is_warned = True
                await self._tell({"ends_in": round(min(idle, total)), "why": "idle" if idle <= total else "time"})
            await asyncio.sleep(min(1.0, idle, total))


def _with_database(function: Callable[..., T], *words: Any, **named: Any) -> T:
    close_old_connections()
    try:
        return function(*words, **named)
    finally:
        close_old_connections()


def _too_many_logs(key: str, most: int) -> str:
    where = {"logs": "The panel follows", "logs of user": "You follow", "logs of jail": "In this jail are followed"}
    return f"{where[key]} {most} logs already: close one first."


def _redeem(request: dict[str, Any], action: str = tickets.CONSOLE) -> Opening:
    words = {name: _text(request, name) for name in ("origin", "source")}
    opening = tickets.redeem(_text(request, "ticket"), action, session_key=_text(request, "session"), **words)
    _require_ours(opening.jail)
    return opening


def _require_ours(jail: Jail) -> None:
    from jails.operations import queue
    from jails.tasks import worker_name

    if queue.worker_of(jail.host) != worker_name():
        raise Refused("Another worker serves its host: there are neither consoles nor streams of logs for it here.")


def _command(opening: Opening, text: str) -> tuple[Ended, str, Any]:
    seconds = settings.CONSOLE_COMMAND_SECONDS
    try:
        jid, connection = reach.inside(opening)
        words = terminals.line(jid, opening.login, seconds=seconds)
        pipeline = Pipeline.of(words, stdin=text.encode("utf-8", "replace"))
        result = connection.run(pipeline, timeout=seconds + HOST_SECONDS, limit=COMMAND_OUTPUT)
    except looking.Refused as problem:
        return Ended.JAIL, str(problem), None
    except CommandTimeout as late:
        return Ended.TIME, _late(seconds), late.partial
    except HostUnavailable:
        return Ended.HOST, Ended.HOST.label, None
    if result.rc == 124:
        return Ended.TIME, _late(seconds), result
    if result.rc and result.stderr.startswith(b"jexec: "):
        return Ended.FAILED, result.stderr.decode("utf-8", "replace").strip()[:300], result
    return Ended.EXIT, "", result


def _late(seconds: int) -> str:
    return f"It and all that it had started was ended after {seconds} seconds."


def _quietly(jail: Jail, words: tuple[str, ...]) -> None:
    connect.connection(jail.host).run(Pipeline.of(words), timeout=HOST_SECONDS, limit=4096)


def _recorder(console: Console, columns: int, rows: int) -> cast.Recorder:
    """Raises OSError where it cannot be written."""
    header = _header(console, columns, rows)
    return cast.Recorder(records.path_of(console), header, largest=settings.CONSOLE_RECORDING_BYTES)


def _header(console: Console, columns: int, rows: int) -> dict[str, Any]:
    return {
        "width": columns,
        "height": rows,
        "timestamp": int(console.opened_at.timestamp()),
        "title": f"{console.username} as {console.login} in {console.jail_name} on {console.host_name}",
        "env": {"TERM": terminals.TERM},
        "cellblock": {
            "console": str(console.pk),
            "kind": console.kind,
            "person": console.username,
            "jail": console.jail_name,
            "host": console.host_name,
            "login": console.login,
        },
    }


def _size(said: dict[str, Any]) -> tuple[int, int]:
    try:
        return terminals.size_of(said.get("columns", 80)), terminals.size_of(said.get("rows", 24))
    except ValueError as error:
        raise frames.Malformed(str(error)) from None


def _text(request: dict[str, Any], name: str) -> str:
    value = request.get(name, "")
    if not isinstance(value, str) or len(value) > 1000 or "\0" in value:
        raise frames.Malformed(f"{name}: expected text")
    return value


@contextlib.contextmanager
def alone(path: Path) -> Any:
    """Hold the place of the socket, so that no two processes answer for one. Raises BlockingIOError."""
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def listening(path: Path) -> socket.socket:
    """The socket, for its user and group from its first moment on."""
    if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(128)
    return made


def main(ready: Callable[[], None] = lambda: None) -> None:
    async def run() -> None:
        await Consoled().serve(Path(settings.CONSOLED_SOCKET), ready)

    asyncio.run(run())
