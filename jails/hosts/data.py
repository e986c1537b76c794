"""Frozen dataclasses as JSON values and back, by their annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_Decoder = Callable[[Any], Any]


def encode(value: Any) -> Any:
    """JSON values. Text loses what PostgreSQL's jsonb refuses: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return _storable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_storable(str(key)): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value


def decode(cls: Any, data: Any) -> Any:
    """The inverse of encode. Fields that a newer or older version wrote or did not write get their defaults."""
    return _decoder(cls)(data)


def _storable(text: str) -> str:
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


@cache
def _decoder(cls: Any) -> _Decoder:
    if is_dataclass(cls) and isinstance(cls, type):
        return _dataclass_decoder(cls)
    origin, args = get_origin(cls), get_args(cls)
    if origin is tuple:
        item = _decoder(args[0])
        return lambda data: tuple(item(value) for value in data)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        value_of = _decoder(args[1])
        return lambda data: MappingProxyType({key: value_of(value) for key, value in data.items()})
    if origin in (Union, UnionType):
        return _union_decoder(args)
    return lambda data: data


def _dataclass_decoder(cls: type) -> _Decoder:
    hints = get_type_hints(cls)
    decoders = [(field.name, _decoder(hints[field.name])) for field in fields(cls)]
    return lambda data: cls(**{name: decoder(data[name]) for name, decoder in decoders if name in data})


def _union_decoder(args: tuple[Any, ...]) -> _Decoder:
    """Of plain values with at most one that needs decoding: a tuple comes as a list, a dataclass as a mapping."""
    structured = [_decoder(arg) for arg in args if arg is not NoneType and (get_origin(arg) or is_dataclass(arg))]
    if not structured:
        return lambda data: data
    decoder = structured[0]
    return lambda data: decoder(data) if isinstance(data, (list, dict)) else data
