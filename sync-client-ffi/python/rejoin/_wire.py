"""How arguments are packed for the library: what uniffi generates, packed in one piece.

The generated builder calls into the library for each growth of its buffer and copies field by field; an edit took longer to
pack than to write to disk. The format is uniffi's own, of the version that the bindings are generated with.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections.abc import Iterator
from typing import Any

from ._native import rejoin as _native

_I8, _U8 = struct.Struct(">b"), struct.Struct(">B")
_I16, _U16 = struct.Struct(">h"), struct.Struct(">H")
_I32, _U32 = struct.Struct(">i"), struct.Struct(">I")
_I64, _U64 = struct.Struct(">q"), struct.Struct(">Q")
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")

_Status = _native._UniffiRustCallStatus


class _Borrowed(ctypes.Structure):
    """Bytes of Python's for the time of a call: laid out as `_UniffiForeignBytes`, and made without a cast."""

    _fields_ = [("len", ctypes.c_int32), ("data", ctypes.c_char_p)]


# By its name anew: the generated one takes arguments of its own types.
_from_bytes = _native._UniffiLib["ffi_sync_client_ffi_rustbuffer_from_bytes"]
_from_bytes.argtypes = (_Borrowed, ctypes.POINTER(_Status))
_from_bytes.restype = _native._UniffiRustBuffer


class Builder:
    """Collects bytes, and hands them to the library at the end."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def finalize(self) -> Any:
        """The library's own buffer with what was written."""
        return _buffer(bytes(self.data))

    def discard(self) -> None:
        """Nothing of the library's was taken yet."""

    def write(self, value: bytes) -> None:
        self.data += value

    def write_i8(self, value: int) -> None:
        self.data += _I8.pack(value)

    def write_u8(self, value: int) -> None:
        self.data += _U8.pack(value)

    def write_i16(self, value: int) -> None:
        self.data += _I16.pack(value)

    def write_u16(self, value: int) -> None:
        self.data += _U16.pack(value)

    def write_i32(self, value: int) -> None:
        self.data += _I32.pack(value)

    def write_u32(self, value: int) -> None:
        self.data += _U32.pack(value)

    def write_i64(self, value: int) -> None:
        self.data += _I64.pack(value)

    def write_u64(self, value: int) -> None:
        self.data += _U64.pack(value)

    def write_float(self, value: float) -> None:
        self.data += _F32.pack(value)

    def write_double(self, value: float) -> None:
        self.data += _F64.pack(value)


class Stream:
    """Reads a copy of a buffer of the library's."""

    __slots__ = ("data", "len", "offset")

    def __init__(self, data: bytes, size: int) -> None:
        self.data = data
        self.len = size
        self.offset = 0

    @classmethod
    def from_rust_buffer(cls, buffer: Any) -> Stream:
        size = buffer.len
        return cls(ctypes.string_at(buffer.data, size) if size else b"", size)

    def remaining(self) -> int:
        return self.len - self.offset

    def read(self, size: int) -> bytes:
        end = self.offset + size
        if size < 0 or end > self.len:
            raise _native.InternalError("read past end of rust buffer")
        data = self.data[self.offset : end]
        self.offset = end
        return data

    def _unpack(self, form: struct.Struct) -> Any:
        end = self.offset + form.size
        if end > self.len:
            raise _native.InternalError("read past end of rust buffer")
        value = form.unpack_from(self.data, self.offset)[0]
        self.offset = end
        return value

    def read_i8(self) -> int:
        return int(self._unpack(_I8))

    def read_u8(self) -> int:
        return int(self._unpack(_U8))

    def read_i16(self) -> int:
        return int(self._unpack(_I16))

    def read_u16(self) -> int:
        return int(self._unpack(_U16))

    def read_i32(self) -> int:
        return int(self._unpack(_I32))

    def read_u32(self) -> int:
        return int(self._unpack(_U32))

    def read_i64(self) -> int:
        return int(self._unpack(_I64))

    def read_u64(self) -> int:
        return int(self._unpack(_U64))

    def read_float(self) -> float:
        return float(self._unpack(_F32))

    def read_double(self) -> float:
        return float(self._unpack(_F64))


def _buffer(data: bytes) -> Any:
    if len(data) > 0x7FFF_FFFF:
        raise ValueError("a call takes at most 2 GiB")
    return _call(None, _from_bytes, _Borrowed(len(data), data))


def _lower_text(value: str) -> Any:
    return _buffer(value.encode("utf-8"))


def _call(error_converter: Any, function: Any, *arguments: Any) -> Any:
    status = _Status()
    result = function(*arguments, ctypes.byref(status))
    if status.code:
        _native._uniffi_check_call_status(error_converter, status)
    return result


def _plain_call(function: Any, *arguments: Any) -> Any:
    return _call(None, function, *arguments)


@contextlib.contextmanager
def _built(*_: Any) -> Iterator[Builder]:
    yield Builder()


def install() -> None:
    """Puts these in the place of the generated ones."""
    _native._UniffiRustBufferBuilder = Builder
    _native._UniffiRustBufferStream = Stream
    _native._UniffiRustBuffer.alloc_with_builder = staticmethod(_built)
    _native._UniffiFfiConverterString.lower = staticmethod(_lower_text)
    _native._uniffi_rust_call_with_error = _call
    _native._uniffi_rust_call = _plain_call
