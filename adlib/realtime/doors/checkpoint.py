"""The engine's state as bytes, and what changed of it: plain values and arrays, without pickle."""

import json
import struct
import zlib
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

_END = struct.Struct("<4sI")  # mark, checksum of all before
_MARK = b"adl2"
_CHANGE = struct.Struct("<IIq")  # bytes that follow, checksum of the state, its position
_LENGTH = struct.Struct("<II")  # of the packed bits, and how many they are
_IN_PLACE = 2**31  # beside the number of bytes: of a state whose pieces stay where they are
_LARGE, _WORDS = 2**18, 8  # bytes of such a state; words of eight bytes that make a piece
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


def stacked(trees: list[Any]) -> Any:
    """Trees that are alike as one, whose arrays have a row for each: so a thousand cost as ten.

    Examples
    --------
    >>> trees = [{"a": 1, "b": np.zeros(2)}, {"a": 2, "b": np.ones(2)}]
    >>> unstacked(stacked(trees), 2)
    [{'a': 1, 'b': array([0., 0.])}, {'a': 2, 'b': array([1., 1.])}]
    """
    first, kind = trees[0], type(trees[0])
    if any(type(tree) is not kind for tree in trees):
        return {"each": trees}
    if kind in (float, int, bool):
        return {"plain": np.array(trees)}
    if kind in (str, type(None)):
        return {"same": first} if {*trees} == {first} else {"each": trees}
    if kind is np.ndarray:
        return _stacked_arrays(trees)
    if not any(map(len, trees)):
        return {"same": first}
    if kind is not dict:
        return _stacked_lists(trees)
    return {"each": trees} if {*map(tuple, trees)} != {tuple(first)} else {
        "of": [[key, stacked([tree[key] for tree in trees])] for key in first]}


def _stacked_lists(trees: list[Any]) -> Any:
    if {type(item) for tree in trees for item in tree} == {float}:
        return {"lists": _stacked_arrays([np.array(tree) for tree in trees])}
    return {"each": trees} if len({*map(len, trees)}) > 1 else {
        "items": [stacked([*column]) for column in zip(*trees, strict=True)]}


def _stacked_arrays(arrays: list[NDArray]) -> Any:
    if not arrays[0].ndim or len({(array.shape[1:], array.dtype) for array in arrays}) > 1:
        return {"each": arrays}
    lengths = [*map(len, arrays)]
    if len({*lengths}) == 1:
        return {"arrays": np.stack(arrays)}
    return {"parts": [np.concatenate(arrays), np.cumsum(lengths[:-1])]}


def unstacked(tree: Any, n: int) -> list[Any]:
    """The ``n`` trees that `stacked` was given."""
    (kind, found), = tree.items()
    if kind == "of":
        names, columns = [key for key, _ in found], [unstacked(one, n) for _, one in found]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if kind == "items":
        return [list(row) for row in zip(*(unstacked(one, n) for one in found), strict=True)]
    if kind == "lists":
        return [one.tolist() for one in unstacked(found, n)]
    if kind == "same":
        return [deepcopy(found) for _ in range(n)]
    if kind == "parts":
        return np.split(*found)
    return found.tolist() if kind == "plain" else list(found)


def _near(old: bytes, at: int) -> bytes:
    return old[max(at - _BLOCK // 2, 0):][:2 * _BLOCK] or b" "


def change(old: bytes, new: bytes, position: int) -> bytes:
    """What `replay` needs to make ``new`` of ``old``: little where most of it only moved."""
    if min(len(old), len(new)) > _LARGE:  # of a fleet: nothing moves, so that nothing is looked for
        words, rest = _differing(old, new)
        body = zlib.compress(np.packbits(words).tobytes(), 1)
        body = b"".join([_LENGTH.pack(len(body), len(words)), body,
                         _words(new, len(words))[words].tobytes(), rest])
        return _CHANGE.pack(len(body) | _IN_PLACE, zlib.crc32(new), position) + body
    parts: list[bytes] = []
    for at in range(0, len(new) or 1, _BLOCK):
        packer = zlib.compressobj(zdict=_near(old, at))
        parts += packer.compress(new[at:at + _BLOCK]), packer.flush()
    body = b"".join(parts)
    return _CHANGE.pack(len(body), zlib.crc32(new), position) + body


def _words(data: bytes, n: int) -> NDArray[np.uint64]:
    return np.frombuffer(data, np.uint64, _WORDS * n).reshape(n, _WORDS)


def _differing(old: bytes, new: bytes) -> tuple[NDArray[np.bool_], bytes]:
    """Which pieces of both differ, and what stands behind them."""
    n = min(len(old), len(new)) // (8 * _WORDS)
    return (_words(old, n) != _words(new, n)).any(axis=1), new[8 * _WORDS * n:]


def _replaced(old: bytes, body: bytes) -> bytes:
    """What `change` made of pieces that differ."""
    length, count = _LENGTH.unpack_from(body)
    at = _LENGTH.size + length
    bits = np.frombuffer(zlib.decompress(body[_LENGTH.size:at]), np.uint8)
    which = np.unpackbits(bits, count=count).astype(bool)
    pieces = _words(old, count).copy()
    end = at + 8 * _WORDS * int(which.sum())
    pieces[which] = _words(body[at:end], int(which.sum()))
    return pieces.tobytes() + body[end:]


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
        end = _CHANGE.size + (length & ~_IN_PLACE)
        rest, changes = changes[_CHANGE.size:end], changes[end:]
        new = b""
        try:
            if length & _IN_PLACE:
                new, rest = _replaced(state, rest), b""
            while rest:
                unpacker = zlib.decompressobj(zdict=_near(state, len(new)))
                new += unpacker.decompress(rest)
                rest = unpacker.unused_data
        except (ValueError, struct.error, zlib.error) as error:
            raise ValueError(f"a change cannot be read: {error}") from error
        if zlib.crc32(new) != check:
            raise ValueError("the checksum of a change does not agree")
        state = new
    return position, state
