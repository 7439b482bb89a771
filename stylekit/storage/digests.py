"""Digests: short names for what something is made from. Four kinds, each with its own name.

`of_bytes`, `of_file` and `of_values` tell contents apart, `of_facts` settings, `of_weights` and `of_tensors` models, `of_code` procedures.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


LENGTH = 16  # hexadecimal digits, where nothing else is wanted
WHOLE = 64  # of a SHA-256 that others can compare with theirs
NUMBERS_PER_TENSOR = 1024  # that tell one model from another


def of_bytes(content: bytes, length: int = LENGTH) -> str:
    return hashlib.sha256(content).hexdigest()[:length]


def of_file(path: Path, length: int = LENGTH) -> str:
    """Of a file's content; it is read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return digest.hexdigest()[:length]


def of_facts(facts: object, length: int = LENGTH) -> str:
    """Of anything whose `repr` says it all: tuples, strings, numbers, frozen dataclasses of them."""
    return of_bytes(repr(facts).encode(), length)


def of_weights(*modules: nn.Module, length: int = LENGTH) -> str:
    """Of all weights of `modules`, see `of_tensors`."""
    return of_tensors((item for module in modules for item in module.state_dict().items()), length=length)


def of_tensors(tensors: Iterable[tuple[str, torch.Tensor]], dtype: torch.dtype | None = None, length: int = LENGTH) -> str:
    """Of names, shapes and evenly spaced numbers, as `dtype` (None: float32): tells models apart in a moment, whatever their size."""
    import torch  # when it is needed: the page comes up without it

    digest = hashlib.sha256()
    for name, tensor in tensors:
        flat = tensor.detach().flatten()
        some = flat[:: max(1, len(flat) // NUMBERS_PER_TENSOR)].to("cpu", dtype or torch.float32)
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + some.numpy().tobytes())
    return digest.hexdigest()[:length]


def of_values(value: Any, length: int = LENGTH) -> str:
    """Of every number in tensors, with their type and shape; lists, tuples and dicts item by item, all else by its `repr`."""
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()[:length]


def of_code(*parts: ModuleType | Callable[..., Any], length: int = LENGTH) -> str:
    """Of what modules, classes and functions do: comments, docstrings and layout do not count."""
    return of_facts([_meaning(inspect.getsource(part)) for part in parts], length)


def _feed(update: Callable[[Any], object], value: Any) -> None:
    import torch  # when it is needed: the page comes up without it

    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        update(f"{plain.dtype} {tuple(plain.shape)}:".encode())
        update(plain.flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        update(f"dict {len(value)}:".encode())
        for key in sorted(value, key=repr):
            _feed(update, key)
            _feed(update, value[key])
    elif isinstance(value, (list, tuple)):
        update(f"list {len(value)}:".encode())
        for item in value:
            _feed(update, item)
    else:
        text = repr(value).encode("utf-8", "backslashreplace")
        update(f"{len(text)}:".encode() + text)


@cache  # by text, so that a module is parsed once
def _meaning(source: str) -> str:
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:]
    return ast.dump(tree)
