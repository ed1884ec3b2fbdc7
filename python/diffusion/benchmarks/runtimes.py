# SPDX-License-Identifier: GPL-3.0-or-later
"""The same network in the native engine, PyTorch, onnxruntime and OpenVINO, one thread each.

Each runtime does what a user of it would: the network and the step's update in a loop over the steps; ours
does the same in one call. Runtimes that are not installed are left out."""
import tempfile
from pathlib import Path

import numpy as np

from .timing import mlp_weights, side_by_side, write_mlp

FULL = [(128, act, 10, batch) for act in ("relu", "silu", "softplus") for batch in (64, 8192)] + \
       [(32, act, 1, 8192) for act in ("relu", "silu", "softplus")]
QUICK = [(128, "silu", 10, 64), (128, "silu", 10, 8192), (32, "silu", 1, 8192)]


def compare_runtimes(quick, seed):
    """({(width, act, steps, batch): {"vs_torch_eager": ratio, ...}}, {runtime: version})."""
    makers, versions = available()
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, act, steps, batch in QUICK if quick else FULL:
            row = compare(Path(folder), makers, width, act, steps, batch, seed, quick)
            ratios[width, act, steps, batch] = row
    return ratios, versions


def available():
    makers, versions = {}, {}
    for name, maker in (("torch_eager", torch_eager), ("onnxruntime", onnxruntime_session), ("openvino", openvino_model)):
        module = name.split("_")[0]
        try:
            versions[name] = __import__(module).__version__
        except ImportError:
            continue
        makers[name] = maker
    if "torch_eager" not in makers:  # the ONNX file is written by torch
        makers = {}
    return makers, versions


def compare(folder, makers, width, act, steps, batch, seed, quick):
    from gnuradio import diffusion
    weights = mlp_weights([2, width, width, width, 2], seed)
    rx = diffusion.engine_receiver(write_mlp(folder / "net.safetensors", weights, act, 1000), steps)
    rx.set_noise_var(0.1)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, 2)).astype(np.float32)
    y = x.view(np.complex64)[:, 0]
    calls = {"native": lambda: rx.denoise(y)}
    for name, maker in makers.items():
        try:
            calls[name] = maker(folder, weights, act, steps, x)
        except Exception as e:  # an optional runtime that cannot be used is no reason to stop
            print(f"{name} left out: {e}")
    times = side_by_side(calls, 5, 0.02 if quick else 0.1)
    row = {}
    for name in calls:
        if name != "native":
            row[f"vs_{name}"] = float(np.median(np.array(times[name]) / np.array(times["native"])))
    return row


def torch_net(weights, act):
    import torch
    torch.set_num_threads(1)
    acts = {"relu": torch.nn.ReLU, "silu": torch.nn.SiLU, "softplus": torch.nn.Softplus}
    layers = []
    for i, (w, b) in enumerate(weights):
        layer = torch.nn.Linear(w.shape[1], w.shape[0])
        layer.weight.data, layer.bias.data = torch.from_numpy(w), torch.from_numpy(b)
        layers += [layer] + ([acts[act]()] if i + 1 < len(weights) else [])
    return torch.nn.Sequential(*layers).eval()


def torch_eager(folder, weights, act, steps, x):
    import torch
    net, start = torch_net(weights, act), torch.from_numpy(x)

    def call():
        with torch.inference_mode():
            z = start
            for _ in range(steps):
                z = 0.9 * z + 0.1 * net(z)
            return z.numpy()
    return call


def onnx_file(folder, weights, act, batch):
    import torch
    path = folder / "net.onnx"
    torch.onnx.export(torch_net(weights, act), (torch.zeros(batch, 2),), str(path), input_names=["x"],
                      output_names=["e"], dynamo=False)
    return str(path)


def onnxruntime_session(folder, weights, act, steps, x):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_file(folder, weights, act, len(x)), options, ["CPUExecutionProvider"])

    def call():
        z = x
        for _ in range(steps):
            z = np.float32(0.9) * z + np.float32(0.1) * session.run(None, {"x": z})[0]
        return z
    return call


def openvino_model(folder, weights, act, steps, x):
    import openvino
    model = openvino.Core().compile_model(onnx_file(folder, weights, act, len(x)), "CPU",
                                          {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1,
                                           "INFERENCE_PRECISION_HINT": "f32"})
    request = model.create_infer_request()

    def call():
        z = x
        for _ in range(steps):
            z = np.float32(0.9) * z + np.float32(0.1) * request.infer({0: z})[0]
        return z
    return call
