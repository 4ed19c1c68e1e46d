"""The engine's state as bytes: plain values and arrays, without pickle.

The rows of a ring buffer come first, each at its sequence number modulo their count, so that the
bytes of a row stay where they are until it is replaced; `AlertStore` writes the parts that changed.
"""

import json
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

#: Bytes that are written at once: with its key, a part fills a page of the database.
PART = 3900
_END = struct.Struct("<4sII")  # mark, bytes of the ring, checksum of all before
_MARK = b"adl2"


def pack(tree: dict[str, Any]) -> bytes:
    """Dictionaries, lists, plain values and arrays as bytes.

    A dictionary of ``tree`` with an array ``seq`` of rising sequence numbers holds a ring buffer.
    """
    arrays: dict[str, NDArray] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[str(len(arrays))] = np.ascontiguousarray(value)
            return {"array": str(len(arrays) - 1)}
        return value.item() if isinstance(value, np.generic) else repr(value)

    tree, ring = _without_ring(tree)
    text = json.dumps(tree, default=plain).encode()
    rest = zlib.compress(safetensors.save({**arrays, "tree": np.frombuffer(text, np.uint8)}), 1)
    data = ring + bytes(-len(ring) % PART) + rest
    return data + _END.pack(_MARK, len(ring), zlib.crc32(data))


def _without_ring(tree: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    for key, group in tree.items():
        if isinstance(group, dict) and len(seq := np.atleast_1d(group.get("seq", ()))):
            rows = {name: array for name, array in group.items()
                    if isinstance(array, np.ndarray) and array.shape[:1] == seq.shape}
            cells = [np.ascontiguousarray(array.reshape(len(seq), -1)).view(np.uint8)
                     for array in rows.values()]
            kinds = [[name, array.dtype.str, list(array.shape)] for name, array in rows.items()]
            rest = {name: value for name, value in group.items() if name not in rows}
            ring = np.roll(np.concatenate(cells, axis=1), int(seq[-1]) + 1, axis=0)
            return {**tree, key: rest, "ring": [key, kinds]}, ring.tobytes()
    return tree, b""


def unpack(data: bytes) -> Any:
    """What `pack` was given, tuples as lists; also what earlier versions packed.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    try:
        ring = b""
        if data[-_END.size:][:4] == _MARK:
            _, length, check = _END.unpack(data[-_END.size:])
            data = data[:-_END.size]
            if zlib.crc32(data) != check:
                raise ValueError("its checksum does not agree")
            ring, data = data[:length], zlib.decompress(data[length + -length % PART:])
        arrays = safetensors.load(data)
        tree = json.loads(arrays["tree"].tobytes(), object_hook=lambda value: (
            arrays[value["array"]] if value.keys() == {"array"} else value))
        if "ring" in tree:
            key, kinds = tree.pop("ring")
            tree[key].update(_rows(ring, kinds))
        return tree
    except Exception as error:  # safetensors and zlib have their own
        raise ValueError(f"no state of an engine: {error}") from error


def _rows(ring: bytes, kinds: list) -> dict[str, NDArray]:
    n, at, rows = kinds[0][2][0], 0, {}
    cells = np.frombuffer(ring, np.uint8).reshape(n, -1)
    for name, kind, shape in kinds:
        width = np.dtype(kind).itemsize * int(np.prod(shape[1:]))
        rows[name] = np.ascontiguousarray(cells[:, at:(at := at + width)]).view(kind).reshape(shape)
    order = np.argsort(rows["seq"])
    return {name: array[order] for name, array in rows.items()}
