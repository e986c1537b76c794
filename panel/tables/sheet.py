"""Rows as CSV, sent as they are read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone

FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    def write(self, line: str) -> str:
        return line


def lines(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(head)
    for row in rows:
        yield writer.writerow([plain(cell) for cell in row])


def plain(cell: Any) -> str:
    """A text that no spreadsheet takes for a formula: others choose what stands in it."""
    text = "" if cell is None else str(cell)
    return "'" + text if text.startswith(FORMULA) else text


def download(
    name: str, content: Iterator[str], content_type: str = "text/csv; charset=utf-8", suffix: str = "csv"
) -> StreamingHttpResponse:
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.now():%Y-%m-%d}.{suffix}"'
    return response
