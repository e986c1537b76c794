"""Hosts reached over SSH. They need FreeBSD's base system and nothing else: no Python, no agent, no sftp.

One connection a host is kept and shared by threads; each command is a channel of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import paramiko
from paramiko.channel import Channel
from paramiko.common import MSG_CHANNEL_REQUEST
from paramiko.message import Message

from jails.freebsd import sh
from jails.freebsd.command import Argv, Pipeline
from jails.hosts import destinations
from jails.hosts.connection import (
    OUTPUT_LIMIT,
    CommandTimeout,
    HostUnavailable,
    OnOutput,
    Result,
    Stream,
    Unavailable,
)
from jails.hosts.destinations import Networks
from jails.hosts.hostkey import HostKey
from jails.hosts.output import Output

CONNECT_SECONDS = 10.0
"""For each of: TCP, key exchange, login, opening a channel."""
KEEPALIVE_SECONDS = 15
CHANNELS = 8
"""At once on one connection: sshd_config(5) MaxSessions is 10 unless set otherwise."""
GRACE = 1.0
"""Seconds without output after which a command that has exited, but whose channel a daemon holds, is left alone."""
GRACE_LIMIT = 60.0
STREAM_WINDOW = 65536
"""Bytes of a stream that may come before they are read (RFC 4254, 5.2)."""
_CHUNK = 32768
_POLL = 0.05

# What goes wrong is raised with what to do; paramiko's own log repeats it with tracebacks.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def scan_host_key(address: str, port: int = 22, timeout: float = CONNECT_SECONDS, networks: Networks = ()) -> HostKey:
    """The key a host shows, for a person to compare before it is pinned, without logging in. Raises HostUnavailable."""
    transport = _handshake(address, port, timeout, None, networks)
    try:
        return HostKey.of(transport.get_remote_server_key())
    finally:
        transport.close()


class SSHConnection:
    """One host over SSH, logged in with the worker's key, its host key pinned exactly.

    `become`: words put before every command where the user is not root, for example `("sudo", "-n")`. `networks`: where
    it may be; none: anywhere.
    """

    def __init__(
        self,
        address: str,
        port: int,
        username: str,
        host_key: str,
        key: paramiko.PKey | Callable[[], paramiko.PKey],
        *,
        become: Sequence[str] = (),
        connect_timeout: float = CONNECT_SECONDS,
        networks: Networks = (),
    ) -> None:
        self.address, self.port, self.username = address, port, username
        self.become = tuple(become)
        self.connect_timeout = connect_timeout
        self.networks = networks
        self._host_key = host_key
        self._key = key
        self._transport: _Transport | None = None
        self._lock = threading.Lock()
        self._channels = threading.BoundedSemaphore(CHANNELS)
        self._streams: list[_Transport] = []
        self._streams_lock = threading.Lock()

    @property
    def place(self) -> str:
        """For messages: `root@192.0.2.2`, with the port where it is not 22."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.username}@{host}" + (f":{self.port}" if self.port != 22 else "")

    def run(
        self,
        pipeline: Pipeline,
        *,
        timeout: float,
        on_output: OnOutput | None = None,
        limit: int = OUTPUT_LIMIT,
    ) -> Result:
        text = sh.remote_string((*self.become, *sh.argv_of(pipeline)))
        return self._run(text, pipeline.stdin, timeout, Output(limit, on_output))

    def stream(self, argv: Argv, loop: asyncio.AbstractEventLoop) -> Stream:
        """On connections of their own, so that open ones never keep a command from running."""
        text = sh.remote_string((*self.become, *argv))
        channel = self._streaming()
        try:
            _execute(channel, text, time.monotonic() + self.connect_timeout)
        except TimeoutError:
            channel.close()
            raise CommandTimeout(self.connect_timeout, Result(-1)) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            channel.close()
            raise self._not_executed(channel, error) from None
        return ChannelStream(channel, loop)

    def close(self) -> None:
        with self._lock:
            self._drop()
            for transport in self._streams:
                transport.close()
            self._streams.clear()

    def _streaming(self) -> Channel:
        """A channel on one of the connections for streams that has room, or on a new one."""
        with self._streams_lock:
            self._streams[:] = [one for one in self._streams if one.is_active()]
            for transport in self._streams:
                if transport.open_channels() < CHANNELS:
                    break
            else:
                transport = self._connect()
                self._streams.append(transport)
            try:
                return transport.open_session(window_size=STREAM_WINDOW, timeout=self.connect_timeout)
            except paramiko.ChannelException as error:
                raise self._refused(error) from None
            except (paramiko.SSHException, EOFError, OSError) as error:
                transport.close()
                raise HostUnavailable(
                    Unavailable.LOST, f"{self.place}: connection lost before the command was sent: {error}"
                ) from None

    def forget(self) -> None:
        """After a fork: let go of the parent's connection without a word to the host."""
        self._lock = threading.Lock()
        self._channels = threading.BoundedSemaphore(CHANNELS)
        self._transport = None
        self._streams, self._streams_lock = [], threading.Lock()

    def _run(self, text: str, stdin: bytes, timeout: float, output: Output) -> Result:
        with self._free_channel(timeout), self._channel() as channel:
            deadline = time.monotonic() + timeout  # connecting has limits of its own
            try:
                _execute(channel, text, deadline)
            except TimeoutError:
                self._discard(channel.get_transport())
                raise CommandTimeout(timeout, Result(-1)) from None
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise self._not_executed(channel, error) from None
            exchange = _Exchange(channel, stdin, output)
            try:
                exchange.until_exit(deadline)
            except TimeoutError:
                partial = Result(-1, bytes(output.stdout), bytes(output.stderr), output.truncated)
                raise CommandTimeout(timeout, partial) from None
            except (paramiko.SSHException, EOFError, OSError):
                raise self._lost() from None
            return self._result(channel, output)

    def _result(self, channel: Channel, output: Output) -> Result:
        rc = channel.exit_status
        if rc < 0:
            number = _signal_number(getattr(channel, "exit_signal", None))
            if number is None:
                raise self._lost()
            rc = 128 + number
        return Result(rc, bytes(output.stdout), bytes(output.stderr), output.truncated)

    @contextlib.contextmanager
    def _free_channel(self, timeout: float) -> Iterator[None]:
        if not self._channels.acquire(timeout=timeout):
            raise CommandTimeout(timeout, Result(-1, b"", b"not started: all channels of the connection are in use\n"))
        try:
            yield
        finally:
            self._channels.release()

    @contextlib.contextmanager
    def _channel(self) -> Iterator[Channel]:
        channel = self._open()
        try:
            yield channel
        finally:
            with contextlib.suppress(Exception):
                channel.close()

    def _open(self) -> Channel:
        """A channel; on a kept connection that turns out dead, a new connection once: nothing has been sent yet."""
        transport, kept = self._connected()
        try:
            return transport.open_session(timeout=self.connect_timeout)
        except paramiko.ChannelException as error:
            raise self._refused(error) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._discard(transport)
            if not kept:
                raise HostUnavailable(
                    Unavailable.LOST, f"{self.place}: connection lost before the command was sent: {error}"
                ) from None
        transport, _ = self._connected()
        try:
            return transport.open_session(timeout=self.connect_timeout)
        except paramiko.ChannelException as error:
            raise self._refused(error) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._discard(transport)
            raise HostUnavailable(
                Unavailable.LOST, f"{self.place}: connection lost before the command was sent: {error}"
            ) from None

    def _connected(self) -> tuple[_Transport, bool]:
        """The connection, and whether it was there before."""
        with self._lock:
            if self._transport is not None and self._transport.is_active():
                return self._transport, True
            self._drop()
            self._transport = self._connect()
            return self._transport, False

    def _discard(self, transport: paramiko.Transport | None) -> None:
        with self._lock:
            if self._transport is transport:
                self._drop()

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _connect(self) -> _Transport:
        pinned = self._pinned()
        key_type = pinned.type if pinned else None
        transport = _handshake(self.address, self.port, self.connect_timeout, key_type, self.networks)
        try:
            self._check_host_key(pinned, HostKey.of(transport.get_remote_server_key()))
            self._log_in(transport)
            transport.set_keepalive(KEEPALIVE_SECONDS)
            if self.become:
                self._check_root(transport)
        except BaseException:
            transport.close()
            raise
        return transport

    def _pinned(self) -> HostKey | None:
        """None where nobody has compared and pinned a key yet: then the host is only asked which one it has."""
        if not self._host_key.strip():
            return None
        try:
            return HostKey.parse(self._host_key)
        except ValueError as error:
            raise HostUnavailable(
                Unavailable.HOST_KEY, f"{self.place}: the pinned host key cannot be read: {error}"
            ) from None

    def _check_host_key(self, pinned: HostKey | None, shown: HostKey) -> None:
        if shown == pinned:
            return
        if pinned is None:
            raise HostUnavailable(
                Unavailable.HOST_KEY,
                f"{self.place}: no host key is pinned yet. It shows {shown.type} {shown.fingerprint}: compare and pin "
                "it first. Nothing was sent.",
                offered=shown.line,
            )
        raise HostUnavailable(
            Unavailable.HOST_KEY,
            f"{self.place}: the host key differs. Pinned: {pinned.type} {pinned.fingerprint}. "
            f"Shown now: {shown.type} {shown.fingerprint}. If the host was installed anew, compare and pin the new "
            "key; otherwise somebody else answers for it. Nothing was sent.",
            offered=shown.line,
        )

    def _log_in(self, transport: _Transport) -> None:
        try:
            key = self._key() if callable(self._key) else self._key
        except Exception as error:
            raise HostUnavailable(Unavailable.AUTHENTICATION, f"{self.place}: {error}") from error
        transport.auth_timeout = self.connect_timeout
        try:
            transport.auth_publickey(self.username, key)
        except paramiko.AuthenticationException as error:
            raise self._login_refused(HostKey.of(key), error) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise HostUnavailable(Unavailable.LOST, f"{self.place}: connection lost during login: {error}") from None

    def _login_refused(self, key: HostKey, error: paramiko.AuthenticationException) -> HostUnavailable:
        advice = f"Is the worker's key ({key.fingerprint}) in {self.username}'s ~/.ssh/authorized_keys?"
        if self.username == "root":
            advice += " FreeBSD's sshd refuses root unless sshd_config says `PermitRootLogin prohibit-password`."
        if isinstance(error, paramiko.BadAuthenticationType):
            advice = (
                f"It accepts {', '.join(error.allowed_types)} only: let sshd_config say `PubkeyAuthentication yes`."
            )
        return HostUnavailable(Unavailable.AUTHENTICATION, f"{self.place}: login refused. {advice}")

    def _check_root(self, transport: _Transport) -> None:
        """That `become` works without a password, once a connection: better here than in the middle of a plan."""
        output = Output(4096)
        deadline = time.monotonic() + self.connect_timeout
        try:
            channel = transport.open_session(timeout=self.connect_timeout)
        except paramiko.ChannelException as error:
            raise self._refused(error) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise HostUnavailable(Unavailable.LOST, f"{self.place}: connection lost after login: {error}") from None
        try:
            _execute(channel, sh.remote_string((*self.become, "id", "-u")), deadline)
            _Exchange(channel, b"", output).until_exit(deadline)
        except (paramiko.SSHException, EOFError, OSError) as error:
            # TimeoutError among them: become waits for a password, or for the network.
            raise HostUnavailable(
                Unavailable.NOT_ROOT, f"{self.place}: `{' '.join(self.become)}` did not end: {error or 'no answer'}"
            ) from None
        finally:
            channel.close()
        # Start-up files of the login shell may have said something before.
        answer = bytes(output.stdout).split()[-1:]
        if channel.exit_status != 0 or answer != [b"0"]:
            said = bytes(output.stderr).decode("utf-8", "replace").strip()
            raise HostUnavailable(
                Unavailable.NOT_ROOT,
                f"{self.place}: `{' '.join(self.become)}` does not make this user root"
                + (f": {said}" if said else "")
                + ". Allow it without a password, or log in as root.",
            )

    def _refused(self, error: paramiko.ChannelException) -> HostUnavailable:
        return HostUnavailable(
            Unavailable.PERMISSION,
            f"{self.place}: sshd refused a session ({error.text}). Too many at once (MaxSessions), or this key may not "
            "run commands (authorized_keys, ForceCommand)?",
        )

    def _not_executed(self, channel: Channel, error: BaseException) -> HostUnavailable:
        transport = channel.get_transport()
        if transport is not None and transport.is_active():
            return HostUnavailable(
                Unavailable.PERMISSION, f"{self.place}: sshd refused to run a command: {error or 'no reason given'}"
            )
        return self._lost()

    def _lost(self) -> HostUnavailable:
        return HostUnavailable(
            Unavailable.LOST, f"{self.place}: connection lost while a command ran; it may still be running there"
        )


class _Transport(paramiko.Transport):
    """paramiko drops `exit-signal` (RFC 4254, 6.10), without which a death by signal looks like a lost connection."""

    def open_channels(self) -> int:
        return len(self._channels)  # type: ignore[attr-defined]

    @staticmethod
    def _request(channel: Channel, message: Message) -> None:
        start = message.packet.tell()
        if message.get_text() == "exit-signal":
            message.get_boolean()
            channel.exit_signal = message.get_text()  # type: ignore[attr-defined]
            channel.status_event.set()
            return
        message.packet.seek(start)
        channel._handle_request(message)  # type: ignore[attr-defined]

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _request.__func__,  # type: ignore[attr-defined]
    }


def _execute(channel: Channel, text: str, deadline: float) -> None:
    """Ask for the command; paramiko itself would wait for the answer for ever. Raises TimeoutError.

    `text` is made of quoted words, by the caller.
    """
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), channel.close)
    guard.daemon = True
    guard.start()
    try:
        channel.exec_command(text)  # nosec B601
    except (paramiko.SSHException, EOFError, OSError):
        if time.monotonic() >= deadline:
            raise TimeoutError from None
        raise
    finally:
        guard.cancel()


class _Exchange:
    """Feeds and reads one channel until the command's exit status is there."""

    def __init__(self, channel: Channel, stdin: bytes, output: Output) -> None:
        self.channel = channel
        self.pending = memoryview(stdin)
        self.output = output
        self.wake = threading.Event()
        channel.settimeout(0.0)
        channel.in_buffer.set_event(self.wake)
        channel.in_stderr_buffer.set_event(self.wake)
        self.stdin_open = True

    def until_exit(self, deadline: float) -> None:
        """Until the exit status is there and the output at its end, or held by a daemon. Raises TimeoutError."""
        exited_at = last_output = 0.0
        while True:
            moved = self._read()
            moved = self._write() or moved
            now = time.monotonic()
            if moved:
                last_output = now
            if not exited_at and self.channel.status_event.is_set():
                exited_at = last_output = now
            if exited_at and (self._at_end() or now - last_output > GRACE or now - exited_at > GRACE_LIMIT):
                self._read()
                return
            if not exited_at and now >= deadline:
                raise TimeoutError
            if not moved:
                self._wait(min(_POLL, max(0.001, deadline - now) if not exited_at else _POLL))

    def _at_end(self) -> bool:
        return bool(self.channel.eof_received or self.channel.closed)

    def _wait(self, seconds: float) -> None:
        if self._at_end():
            # The buffers' event stays set after end of file; only the status can still come.
            self.channel.status_event.wait(seconds)
        elif self.pending:
            self.wake.wait(min(seconds, 0.005))
        else:
            self.wake.wait(seconds)

    def _read(self) -> bool:
        moved = False
        while self.channel.recv_ready():
            self.output.out(self.channel.recv(_CHUNK))
            moved = True
        while self.channel.recv_stderr_ready():
            self.output.err(self.channel.recv_stderr(_CHUNK))
            moved = True
        return moved

    def _write(self) -> bool:
        moved = False
        if self.channel.closed or self.channel.status_event.is_set():
            return False
        if self.pending and self.channel.send_ready():
            with contextlib.suppress(TimeoutError):
                self.pending = self.pending[self.channel.send(bytes(self.pending[:_CHUNK])) :]
                moved = True
        if self.stdin_open and not self.pending:
            self.stdin_open = False
            self.channel.shutdown_write()
        return moved


class ChannelStream:
    """A command of another host as connection.Stream. paramiko's own thread wakes the loop; none waits for a stream."""

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self.channel = channel
        channel.settimeout(0.0)
        self._output, self._errors = _Wake(loop), _Wake(loop)
        channel.in_buffer.set_event(self._output)  # type: ignore[arg-type]
        channel.in_stderr_buffer.set_event(self._errors)  # type: ignore[arg-type]

    async def read(self) -> bytes:
        return await self._next(self._output, self.channel.recv_ready, self.channel.recv)

    async def read_error(self) -> bytes:
        return await self._next(self._errors, self.channel.recv_stderr_ready, self.channel.recv_stderr)

    async def _next(self, wake: _Wake, ready: Callable[[], bool], receive: Callable[[int], bytes]) -> bytes:
        while True:
            wake.event.clear()
            if ready():
                return receive(_CHUNK)
            if self.channel.eof_received or self.channel.closed:
                # Its last bytes may have come between the two questions.
                return receive(_CHUNK) if ready() else b""
            await wake.event.wait()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self.channel.closed:
            try:
                view = view[self.channel.send(bytes(view[:_CHUNK])) :]
            except TimeoutError:
                await asyncio.sleep(_POLL)  # the other side has no room, and paramiko does not tell when it has
            except OSError:
                return

    def end_input(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.channel.shutdown_write()

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.channel.close()


class _Wake:
    """What paramiko takes for a threading.Event, for one waiter on a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.event = asyncio.Event()

    def set(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.event.set)

    def clear(self) -> None:
        """Whoever waits clears it, before looking."""

    def is_set(self) -> bool:
        return self.event.is_set()


def _handshake(address: str, port: int, timeout: float, key_type: str | None, networks: Networks) -> _Transport:
    """Connect and exchange keys, asking for a host key of the type that is pinned. Raises HostUnavailable."""
    place = f"{address}, port {port}"
    sock = _connect_tcp(address, port, timeout, networks)
    try:
        transport = _Transport(sock)
    except BaseException:
        sock.close()
        raise
    transport.daemon = True
    transport.banner_timeout = transport.handshake_timeout = timeout + 5
    if key_type is not None:
        _prefer_key_type(transport, key_type)
    negotiated = threading.Event()
    transport.start_client(event=negotiated)
    negotiated.wait(timeout)
    error = transport.get_exception()
    if negotiated.is_set() and transport.is_active() and error is None:
        return transport
    transport.close()
    if not negotiated.is_set():
        raise HostUnavailable(Unavailable.TIMED_OUT, f"{place}: connected, but no SSH answer in {timeout:g} s")
    raise HostUnavailable(Unavailable.UNREACHABLE, f"{place}: no SSH session: {error or 'the host hung up'}")


def _connect_tcp(address: str, port: int, timeout: float, networks: Networks) -> socket.socket:
    place = f"{address}, port {port}"
    try:
        sock = destinations.connect(address, port, timeout, networks)
    except destinations.Outside as error:
        raise HostUnavailable(Unavailable.UNREACHABLE, f"{place}: {error} Nothing was sent.") from None
    except socket.gaierror as error:
        raise HostUnavailable(Unavailable.UNKNOWN_NAME, f"{address}: no such host name: {error.strerror}") from None
    except ConnectionRefusedError:
        raise HostUnavailable(
            Unavailable.REFUSED, f"{place}: refused. Is sshd running and not kept off by a firewall?"
        ) from None
    except TimeoutError:
        raise HostUnavailable(Unavailable.TIMED_OUT, f"{place}: no answer in {timeout:g} s") from None
    except OSError as error:
        words = {errno.EHOSTUNREACH: "no route to it", errno.ENETUNREACH: "no route to its network"}
        raise HostUnavailable(
            Unavailable.UNREACHABLE, f"{place}: {words.get(error.errno or 0, error.strerror or str(error))}"
        ) from None
    _keep_alive(sock)
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice a host that is gone, within about a minute."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 60_000)):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _prefer_key_type(transport: _Transport, key_type: str) -> None:
    """The pinned type first, the others after it: a host that has another key only is then shown with it."""
    options = transport.get_security_options()
    same = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")}.get(key_type, (key_type,))
    known = tuple(options.key_types)
    wanted = tuple(name for name in same if name in known)
    options.key_types = (*wanted, *(name for name in known if name not in wanted))


def _signal_number(name: str | None) -> int | None:
    """From `KILL`, as RFC 4254 writes it. A signal this machine has no number for counts as KILL."""
    if name is None:
        return None
    found = getattr(signal, f"SIG{name.partition('@')[0]}", signal.SIGKILL)
    return int(found)
