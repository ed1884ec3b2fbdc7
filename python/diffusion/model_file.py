# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files without torch: the description read, and a copy written with another description.

The format is docs/model-file.md's; the weights of a copy are the original's, byte for byte.
"""
import json
import math
import os
import struct
from pathlib import Path

KEY = "gr_diffusion"
LARGEST_HEADER = 1 << 26


def read(path):
    """(header dictionary of the safetensors file, description, weights as bytes)."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        if size > LARGEST_HEADER:
            raise ValueError(f"{path} is no safetensors file: its header would have {size} bytes")
        header = json.loads(f.read(size))
        return header, json.loads(header["__metadata__"][KEY]), f.read()


def write_copy(source, target, changes):
    """Writes source's weights with its description, changed, to target; in one piece or not at all.

    changes: keys of the description to replace; None removes one. Returns the new description."""
    header, description, weights = read(source)
    description.update({k: v for k, v in changes.items() if v is not None})
    for key in [k for k, v in changes.items() if v is None]:
        description.pop(key, None)
    _check(description, "description")
    header["__metadata__"] = {**header["__metadata__"], KEY: json.dumps(description, allow_nan=False)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # safetensors aligns the weights so
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_bytes(struct.pack("<Q", len(text)) + text + weights)
    os.replace(part, target)
    return description


def _check(value, where):
    if isinstance(value, dict):
        for key, item in value.items():
            _check(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check(item, f"{where}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; only finite numbers can be saved")
