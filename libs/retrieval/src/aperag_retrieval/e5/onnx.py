"""Graphs in ONNX's format: as much of Protocol Buffers as writing one needs.

The package ``onnx`` writes them too, and would be 30 MB for these few lines.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aperag_retrieval.e5.weights import Array

IR_VERSION, OPSET = 9, 18
FUSED = "com.microsoft"
"""onnxruntime's own operators, each of which does what several standard ones do."""
_FLOAT, _INT8 = 1, 3
_TYPES = {np.dtype(np.float32): _FLOAT, np.dtype(np.int8): _INT8}
# As ONNX numbers the fields of its messages, in the order of their use below.
_TENSOR_SIZE, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_DATA = 1, 2, 8, 9
_ATTRIBUTE_NAME, _ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS, _ATTRIBUTE_TYPE = 1, 2, 3, 8, 20
_IS_FLOAT, _IS_INT, _IS_INTS = 1, 2, 7
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 2, 1, 1, 2
_SHAPE_DIMENSION, _DIMENSION_SIZE, _DIMENSION_NAME = 1, 1, 2
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_MODEL_VERSION, _MODEL_GRAPH, _MODEL_OPSET, _OPSET_DOMAIN, _OPSET_VERSION = 1, 7, 8, 1, 2


def tensor(name: str, value: Array) -> bytes:
    """A constant that nodes take by its name."""
    sizes = b"".join(_number(_TENSOR_SIZE, size) for size in value.shape)
    kind = _number(_TENSOR_TYPE, _TYPES[value.dtype])
    return sizes + kind + _text(_TENSOR_NAME, name) + _bytes(_TENSOR_DATA, value.tobytes())


def node(
    operator: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    domain: str = FUSED,
    **attributes: float | tuple[int, ...],
) -> bytes:
    """Named after its first output."""
    given = b"".join(_text(_NODE_INPUT, it) for it in inputs) + b"".join(_text(_NODE_OUTPUT, it) for it in outputs)
    named = _text(_NODE_NAME, outputs[0]) + _text(_NODE_OPERATOR, operator) + _text(_NODE_DOMAIN, domain)
    return given + named + b"".join(_bytes(_NODE_ATTRIBUTE, _attribute(*it)) for it in attributes.items())


def floats(name: str, shape: Sequence[int | str]) -> bytes:
    """An input or output; a name in ``shape`` is a size that differs from run to run."""
    sizes = b"".join(
        _bytes(_SHAPE_DIMENSION, _text(_DIMENSION_NAME, it) if isinstance(it, str) else _number(_DIMENSION_SIZE, it))
        for it in shape
    )
    kind = _bytes(_TYPE_TENSOR, _number(_TENSOR_ELEMENT, _FLOAT) + _bytes(_TENSOR_SHAPE, sizes))
    return _text(_VALUE_NAME, name) + _bytes(_VALUE_TYPE, kind)


def model(name: str, nodes: Iterable[bytes], tensors: Iterable[bytes], given: bytes, made: bytes) -> bytes:
    """From the one input to the one output."""
    graph = [_bytes(_GRAPH_NODE, it) for it in nodes] + [_text(_GRAPH_NAME, name)]
    graph += [_bytes(_GRAPH_INITIALIZER, it) for it in tensors]
    graph += [_bytes(_GRAPH_INPUT, given), _bytes(_GRAPH_OUTPUT, made)]
    opsets = [_text(_OPSET_DOMAIN, domain) + _number(_OPSET_VERSION, n) for domain, n in (("", OPSET), (FUSED, 1))]
    head = _number(_MODEL_VERSION, IR_VERSION) + b"".join(_bytes(_MODEL_OPSET, it) for it in opsets)
    return head + _bytes(_MODEL_GRAPH, b"".join(graph))


def _attribute(name: str, value: float | tuple[int, ...]) -> bytes:
    if isinstance(value, float):
        held = _tag(_ATTRIBUTE_FLOAT, 5) + struct.pack("<f", value) + _number(_ATTRIBUTE_TYPE, _IS_FLOAT)
    elif isinstance(value, int):
        held = _number(_ATTRIBUTE_INT, value) + _number(_ATTRIBUTE_TYPE, _IS_INT)
    else:
        held = b"".join(_number(_ATTRIBUTE_INTS, it) for it in value) + _number(_ATTRIBUTE_TYPE, _IS_INTS)
    return _text(_ATTRIBUTE_NAME, name) + held


def _text(field: int, content: str) -> bytes:
    return _bytes(field, content.encode())


def _bytes(field: int, content: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow. -1 is written in 64 bits."""
    number, written = number % 2**64, bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
