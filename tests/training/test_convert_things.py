"""A network of TensorFlow.js as ONNX."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stylekit.errors import StyleError
from training import convert_things


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def ints(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(v) for v in values]}}


def a_graph(folder: Path, **changes: Any) -> tuple[Path, np.ndarray, np.ndarray]:
    """A convolution, channels last, of a photo with channels first, and two answers of it; its kernel and bias."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 3, 3, 7)).astype(np.float16), rng.normal(size=7).astype(np.float16)
    consts: dict[str, np.ndarray] = {
        "last": np.array([0, 2, 3, 1], np.int32),
        "kernel": kernel,
        "bias": bias,
        "pads": np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32),
        "sizes": np.array([3, 4], np.int32),
        "axis": np.array(3, np.int32),
        "three": np.array([1, 64, 3], np.int32),
        "four": np.array([1, 64, 4], np.int32),
    }
    window = {"data_format": text("NHWC"), "padding": text("VALID"), "strides": ints(1, 1, 1, 1), "dilations": ints(1, 1, 1, 1)}
    shape = {"shape": {"dim": [{"size": str(n)} for n in (1, 3, 8, 8)]}}
    nodes = [
        {"name": "photo", "op": "Placeholder", "attr": {"shape": shape}},
        *({"name": name, "op": "Const", "attr": {}} for name in consts),
        {"name": "turned", "op": "Transpose", "input": ["photo", "last"], "attr": {}},
        {"name": "wide", "op": "Pad", "input": ["turned", "pads"], "attr": {}},
        {"name": "conv", "op": "Conv2D", "input": ["wide", "kernel"], "attr": window},
        {"name": "moved", "op": "AddV2", "input": ["conv", "bias"], "attr": {}},
        {"name": "bent", "op": "LeakyRelu", "input": ["moved"], "attr": {"alpha": {"f": 0.1}}},
        {"name": "parts", "op": "SplitV", "input": ["bent", "sizes", "axis"], "attr": {}},
        {"name": "likely", "op": "Sigmoid", "input": ["parts:1"], "attr": {}},
        {"name": "boxes", "op": "Reshape", "input": ["parts", "three"], "attr": {}},
        {"name": "scores", "op": "Reshape", "input": ["likely", "four"], "attr": {}},
    ]
    nodes = [changes.get(node["name"], node) for node in nodes]
    weights = [
        {"name": name, "shape": list(value.shape), "dtype": "int32"}
        if value.dtype == np.int32
        else {"name": name, "shape": list(value.shape), "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, value in consts.items()
    ]
    (folder / "net.bin").write_bytes(b"".join(value.tobytes() for value in consts.values()))
    outputs = {name: {"tensorShape": {"dim": [{"size": str(n)} for n in (1, 64, width)]}} for name, width in (("boxes", 3), ("scores", 4))}
    told = {
        "modelTopology": {"node": nodes},
        "signature": {"outputs": outputs},
        "weightsManifest": [{"paths": ["net.bin"], "weights": weights}],
    }
    (folder / "net.json").write_text(json.dumps(told))
    return folder / "net.json", kernel.astype(np.float32), bias.astype(np.float32)


def test_it_answers_as_the_graph_says(tmp_path: Path) -> None:
    model, kernel, bias = a_graph(tmp_path)
    assert convert_things.main(["--model", str(model), "--out", str(tmp_path / "net.onnx")]) == 0
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "net.onnx"))
    photo = np.random.default_rng(1).random((1, 3, 8, 8), np.float32)
    net.setInput(photo)
    scores, boxes = net.forward(("scores", "boxes"))
    wide = np.pad(photo[0], ((0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (1, 2))  # (3, 8, 8, 3, 3)
    answer = np.einsum("cyxij,ijco->yxo", seen, kernel) + bias
    answer = np.where(answer > 0, answer, 0.1 * answer)
    assert np.allclose(boxes[0], answer[..., :3].reshape(64, 3), atol=1e-4)
    assert np.allclose(scores[0], 1 / (1 + np.exp(-answer[..., 3:].reshape(64, 4))), atol=1e-5)


def test_turns_between_channels_first_and_last_vanish(tmp_path: Path) -> None:
    made = convert_things.convert(a_graph(tmp_path)[0])
    # but for the last, in which the answers lie
    assert [node.op_type for node in made.graph.node].count("Transpose") == 2


def test_what_cannot_be_converted_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, *_ = a_graph(tmp_path, bent={"name": "bent", "op": "Elu", "input": ["moved"], "attr": {}})
    with pytest.raises(StyleError, match="'Elu'"):
        convert_things.convert(model)
    (tmp_path / "net.bin").unlink()
    assert convert_things.main(["--model", str(model), "--out", str(tmp_path / "none.onnx")]) == 2
    assert "choose its .json file" in capsys.readouterr().err
    assert not (tmp_path / "none.onnx").exists()
