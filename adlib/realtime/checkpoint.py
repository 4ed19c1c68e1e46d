"""The engine's state as bytes: plain values and arrays, without pickle."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors


def pack(tree: Any) -> bytes:
    """Dictionaries, lists, plain values and arrays as bytes."""
    arrays: dict[str, NDArray] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[str(len(arrays))] = np.ascontiguousarray(value)
            return {"array": str(len(arrays) - 1)}
        return value.item() if isinstance(value, np.generic) else repr(value)

    text = json.dumps(tree, default=plain).encode()
    return safetensors.save({**arrays, "tree": np.frombuffer(text, np.uint8)})


def unpack(data: bytes) -> Any:
    """What `pack` was given, tuples as lists."""
    arrays = safetensors.load(data)

    def whole(value: dict) -> Any:
        return arrays[value["array"]] if value.keys() == {"array"} else value

    return json.loads(arrays["tree"].tobytes(), object_hook=whole)
