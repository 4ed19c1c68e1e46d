"""The engine's state as bytes, and what changed of it: plain values and arrays, without pickle."""

import json
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

_END = struct.Struct("<4sI")  # mark, checksum of all before
_MARK = b"adl2"
_CHANGE = struct.Struct("<IIq")  # bytes that follow, checksum of the state, its position
_BLOCK = 2**14  # bytes; a block is looked for in twice as many, as far as zlib looks back


def pack(tree: Any) -> bytes:
    """Dictionaries, lists, plain values and arrays as bytes."""
    arrays: dict[str, NDArray] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[str(len(arrays))] = np.ascontiguousarray(value)
            return {"array": str(len(arrays) - 1)}
        return value.item() if isinstance(value, np.generic) else repr(value)

    text = json.dumps(_dense(tree), default=plain).encode()
    data = safetensors.save({**arrays, "tree": np.frombuffer(text, np.uint8)})
    return data + _END.pack(_MARK, zlib.crc32(data))


def _dense(value: Any) -> Any:
    """Long lists of floats, or of rows, as one array: a tenth of the bytes, and they stay alike."""
    if isinstance(value, dict):
        return {key: _dense(item) for key, item in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if len(value) > 8 and all(type(item) is float for item in value):
        return {"floats": np.array(value)}
    if len(value) > 8 and all(isinstance(item, np.ndarray) for item in value) and len(
            {(item.shape, item.dtype) for item in value}) == 1:
        return {"rows": np.stack(value)}
    return [_dense(item) for item in value]


def _whole(value: dict[str, Any], arrays: dict[str, NDArray]) -> Any:
    for key, item in value.items() if len(value) == 1 else ():
        if key == "array":
            return arrays[item]
        if isinstance(item, np.ndarray) and key in ("floats", "rows"):
            return item.tolist() if key == "floats" else list(item)
    return value


def unpack(data: bytes) -> Any:
    """What `pack` was given, tuples as lists; also what earlier versions packed.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    try:
        if data[-_END.size:][:4] == _MARK:
            _, check = _END.unpack(data[-_END.size:])
            data = data[:-_END.size]
            if zlib.crc32(data) != check:
                raise ValueError("its checksum does not agree")
        arrays = safetensors.load(data)
        return json.loads(arrays["tree"].tobytes(),
                          object_hook=lambda value: _whole(value, arrays))
    except Exception as error:  # safetensors has its own
        raise ValueError(f"no state of an engine: {error}") from error


def _near(old: bytes, at: int) -> bytes:
    return old[max(at - _BLOCK // 2, 0):][:2 * _BLOCK] or b" "


def change(old: bytes, new: bytes, position: int) -> bytes:
    """What `replay` needs to make ``new`` of ``old``: little where most of it only moved."""
    parts: list[bytes] = []
    for at in range(0, len(new) or 1, _BLOCK):
        packer = zlib.compressobj(zdict=_near(old, at))
        parts += packer.compress(new[at:at + _BLOCK]), packer.flush()
    body = b"".join(parts)
    return _CHANGE.pack(len(body), zlib.crc32(new), position) + body


def replay(state: bytes, changes: bytes) -> tuple[int | None, bytes]:
    """The last position, None where nothing changed, and the state after all changes.

    Raises
    ------
    ValueError
        When something is damaged.

    Examples
    --------
    >>> states = [bytes(range(k, k + 200)) for k in (0, 5, 9)]
    >>> changes = change(states[0], states[1], 7) + change(states[1], states[2], 8)
    >>> len(changes) < 100, replay(states[0], changes + bytes(50)) == (8, states[2])
    (True, True)
    """
    position = None
    while len(changes) >= _CHANGE.size and any(changes[:4]):
        length, check, position = _CHANGE.unpack_from(changes)
        rest, changes = changes[_CHANGE.size:][:length], changes[_CHANGE.size + length:]
        new = b""
        try:
            while rest:
                unpacker = zlib.decompressobj(zdict=_near(state, len(new)))
                new += unpacker.decompress(rest)
                rest = unpacker.unused_data
        except zlib.error as error:
            raise ValueError(f"a change cannot be read: {error}") from error
        if zlib.crc32(new) != check:
            raise ValueError("the checksum of a change does not agree")
        state = new
    return position, state
