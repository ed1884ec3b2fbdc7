# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files: weights in safetensors, one JSON object under the metadata key "gr_diffusion".

save_model() and load_model() serve every network kind; the C++ engine reads the same file.
"""
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .sampler import prediction_type

KEY = "gr_diffusion"
FORMAT = 1
TASKS = ("receiver", "estimator", "shaper", "sequence")
REQUIRED = ("name", "task", "network", "prediction_type", "schedule", "snr_db")

saved = {}  #: path -> metadata of the model files this process wrote, for `train --json`


def _plain(value, where):
    """JSON types only, every number finite: NaN is no JSON, and the C++ loader refuses it."""
    if isinstance(value, dict):
        return {str(k): _plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, complex):
        value = [value.real, value.imag]
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"metadata {where} is {value}; only finite numbers can be saved")
    return value


def check_metadata(metadata):
    """Returns the metadata as it is saved; raises ValueError naming what is missing or wrong."""
    missing = [k for k in REQUIRED if k not in metadata]
    if missing:
        raise ValueError(f"metadata lacks {', '.join(missing)}")
    if metadata["task"] not in TASKS:
        raise ValueError(f"task '{metadata['task']}' is none of {', '.join(TASKS)}")
    if "kind" not in metadata["network"]:
        raise ValueError("metadata network lacks its kind")
    lo, hi = metadata["snr_db"]
    if not lo <= hi:
        raise ValueError(f"snr_db [{lo}, {hi}] is no range")
    clean = _plain({"format": FORMAT, **metadata}, "metadata")
    clean["prediction_type"] = prediction_type(clean["prediction_type"])
    return clean


def save_model(path, module, metadata):
    """Writes a torch module and its metadata to path (.safetensors).

    module: a torch.nn.Module or a dict of tensors; weights are saved as contiguous float32 under their
    state_dict names. metadata: the model file's JSON object (python types, numpy, torch); "format" is added.
    Returns the metadata as saved."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path.name}: model files end in .safetensors")
    state = module.state_dict() if isinstance(module, torch.nn.Module) else module
    tensors = {}
    for name, tensor in state.items():
        tensor = torch.as_tensor(tensor).detach().cpu().to(torch.float32).contiguous().clone()
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"weights of {name} are not finite: the training diverged; nothing saved")
        tensors[name] = tensor
    clean = check_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata={KEY: json.dumps(clean, allow_nan=False)})
    path.chmod(0o644)  # safetensors writes for the owner alone
    saved.pop(str(path), None)
    saved[str(path)] = clean
    return clean


def load_model(path):
    """(tensors by name, metadata) of a model file."""
    with safe_open(str(path), "pt") as f:
        metadata = json.loads((f.metadata() or {}).get(KEY, "null"))
        if metadata is None:
            raise ValueError(f"{path} has no {KEY} metadata: it is not a gr-diffusion model")
        return {name: f.get_tensor(name) for name in f.keys()}, metadata
