"""fetch(1): http, https and file URLs, written as they come so that the growing file shows how far it is."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from jails.hosts.simulated import faults
from jails.hosts.simulated.host import os_error, strerror
from jails.hosts.simulated.process import Process

from . import access
from .access import Options

_USAGE = """\
usage: fetch [-146AadFlMmnPpqRrsUv] [--allow-sslv2] [--bind-address=host]
       [--ca-cert=file] [--ca-path=dir] [--cert=file] [--crl=file]
       [-i file] [--key=file] [-N file] [-o file]
       [--no-proxy=list] [--no-passive] [--no-sslv3] [--no-tlsv1]
       [--no-verify-hostname] [--no-verify-peer] [-T seconds]
       [-w seconds] URL ..."""
_CHUNK = 1 << 16


class Source(NamedTuple):
    """An open document: its size (None: not told), what is read from it, and its time (0: not told)."""

    size: int | None
    stream: Any
    start: int
    mtime: float


class Unavailable(Exception):
    """libfetch's error; the message follows the URL."""


def main(process: Process) -> int:
    options = Options(process, "146AaB:dFi:lMmN:no:PpqRrS:sT:Uvw:", _USAGE, 1)
    if not options.operands:
        access.wrong_usage(process, "", _USAGE, 1)
    failed = 0
    for url in options.operands:
        try:
            failed |= _fetch(process, options, url)
        except Unavailable as problem:
            if "s" not in options or "q" not in options:
                process.err(f"fetch: {url}: {problem}\n")
            failed = 1
        except OSError as error:
            process.err(f"fetch: {_target(process, options, url)}: {strerror(error)}\n")
            failed = 1
    return failed


def _target(process: Process, options: Options, url: str) -> str:
    name = urlsplit(url).path.rstrip("/").rpartition("/")[2] or "fetch.out"
    target = options.get("o")
    if target is None:
        return name
    try:
        inside = target != "-" and process.path(target).is_dir()
    except OSError:
        inside = False
    return f"{target.rstrip('/')}/{name}" if inside else target


def _fetch(process: Process, options: Options, url: str) -> int:
    timeout = float(options.get("T") or 120) or None
    if "s" in options:
        source = _open(process, url, 0, timeout, method="HEAD")
        source.stream.close()
        process.out("Unknown\n" if source.size is None else f"{source.size}\n")
        return 0
    target = _target(process, options, url)
    have = None
    if target != "-" and ("r" in options or "m" in options) and process.locate(target).exists:
        have = process.path(target).stat()
    source = _open(process, url, have.st_size if have and "r" in options else 0, timeout)
    with source.stream:
        if have and source.size == have.st_size and ("r" in options or int(have.st_mtime) == int(source.mtime)):
            return 0
        if have and "r" in options and source.size is not None and source.size < have.st_size:
            process.err(
                f"fetch: {target}: local file ({have.st_size} bytes) is longer than remote file ({source.size} bytes)\n"
            )
            return 1
        return _save(process, options, source, target)


def _open(process: Process, url: str, start: int, timeout: float | None, method: str = "GET") -> Source:
    parts = urlsplit(url)
    if parts.scheme == "file" or (not parts.scheme and url.startswith("/")):
        return _open_file(process, unquote(parts.path), start)
    if parts.scheme in ("http", "https"):
        return _open_http(process, url, start, timeout, method)
    raise Unavailable("Invalid URL scheme")


def _open_file(process: Process, path: str, start: int) -> Source:
    try:
        stream = os.fdopen(access.open_file(process, path, os.O_RDONLY), "rb")
    except OSError as error:
        raise Unavailable(strerror(error)) from None
    status = os.fstat(stream.fileno())
    stream.seek(min(start, status.st_size))
    return Source(status.st_size, stream, min(start, status.st_size), status.st_mtime)


def _open_http(process: Process, url: str, start: int, timeout: float | None, method: str) -> Source:
    from email.utils import parsedate_to_datetime
    from urllib import error as errors
    from urllib import request as requests

    headers = {"User-Agent": "fetch libfetch/2.0"}
    request = requests.Request(url, headers=headers, method=method)  # noqa: S310 - http(s) alone gets here
    if start:
        request.add_header("Range", f"bytes={start}-")
    names = {
        name: process.env[variable]
        for name, variable in (("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY"))
        if process.env.get(variable)
    }
    opener = requests.build_opener(requests.ProxyHandler(names))
    try:
        answer = opener.open(request, timeout=timeout)
    except errors.HTTPError as problem:
        raise Unavailable(_HTTP.get(problem.code, "Unknown HTTP error")) from None
    except errors.URLError as problem:
        raise Unavailable(_reason(problem.reason)) from None
    except (OSError, ValueError) as problem:
        raise Unavailable(_reason(problem)) from None
    length = answer.headers.get("Content-Length")
    begun = start if answer.status == 206 else 0
    size = int(length) + begun if length is not None and length.isdigit() else None
    try:
        changed = parsedate_to_datetime(answer.headers.get("Last-Modified", "")).timestamp()
    except ValueError:
        changed = 0
    return Source(size, answer, begun, changed)


_HTTP = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    416: "Requested Range Not Satisfiable",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _reason(problem: Any) -> str:
    if isinstance(problem, socket.gaierror):
        return "Transient resolver failure" if problem.errno == socket.EAI_AGAIN else "No address record"
    if isinstance(problem, TimeoutError):
        return "Operation timed out"
    if isinstance(problem, OSError) and "CERTIFICATE" in str(problem):
        return "Authentication error"
    return strerror(problem) if isinstance(problem, OSError) else str(problem)


def _save(process: Process, options: Options, source: Source, target: str) -> int:
    """A new file grows where it belongs; one that is there already stays until the other is whole (fetch.c)."""
    if target == "-":
        _, failed = _copy(process, source, target, process.fds[1], None)
        return failed
    writes_to = target
    if process.locate(target).exists and process.path(target).is_file() and not source.start:
        head, slash, name = target.rpartition("/")
        writes_to = f"{head}{slash}.fetch.{os.urandom(3).hex()}.{name}"
    real = access.open_file(process, writes_to, os.O_WRONLY | os.O_CREAT | (0 if source.start else os.O_TRUNC))
    place = process.locate(writes_to)
    begun = time.monotonic()
    try:
        os.lseek(real, source.start, os.SEEK_SET)
        total, failed = _copy(process, source, target, real, place)
    except OSError:
        if not {"r", "R"} & {letter for letter, _ in options.all}:
            access.remove(process, place)
        raise
    finally:
        os.close(real)
    if source.mtime and "n" not in options and place.mount["type"] != "devfs":
        os.utime(place.backing, (source.mtime, source.mtime))
    if not failed and writes_to != target:
        os.replace(place.backing, process.path(target))
    if not failed and "q" not in options:
        _report(process, target, total, time.monotonic() - begun)
    return failed


def _copy(process: Process, source: Source, target: str, real: int, place: Any) -> tuple[int, int]:
    """How many bytes there are now, and whether that is a failure."""
    from http.client import HTTPException

    with process.host.reading() as state:
        fault = faults.value(state["faults"], "fetch") or {}
    total, end, late = source.start, fault.get("truncate"), False
    try:
        while end is None or total < end:
            try:
                part = source.stream.read1(_CHUNK if end is None else min(_CHUNK, end - total))
            except HTTPException:  # the other side went away within a chunk
                part = b""
            if not part:
                break
            if place is not None and place.mount["type"] != "devfs":
                access.check_space(process, place, len(part))
            os.write(real, part)
            total += len(part)
            if fault.get("rate"):
                time.sleep(len(part) / float(fault["rate"]))
            if source.size and total >= source.size / 2:
                process.middle()
    except TimeoutError:
        late = True
        process.err("fetch: transfer timed out\n")
    if source.size is not None and total < source.size:
        process.err(f"fetch: {target} appears to be truncated: {total}/{source.size} bytes\n")
        return total, 1
    if late:
        process.err(f"fetch: {target} may be truncated\n")
    return total, int(late)


def _report(process: Process, target: str, total: int, seconds: float) -> None:
    rate = total / max(seconds, 0.001)
    process.err(f"{target[-48:]:<48}       {_short(total):>7}   {_short(rate)}ps    {int(seconds):02d}s\n")


def _short(amount: float) -> str:
    for unit in (" B", "kB", "MB", "GB"):
        if amount < 10000 or unit == "GB":
            return f"{amount:.0f} {unit}"
        amount /= 1024
    raise os_error(errno.EINVAL)
