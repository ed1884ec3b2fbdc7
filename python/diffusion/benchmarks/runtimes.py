# SPDX-License-Identifier: GPL-3.0-or-later
"""The same conditional network and the same sampler in the native engine, PyTorch, onnxruntime and OpenVINO,
one thread each.

The network is conditioned on the time step as trained receivers are (FiLM rows from an embedding,
nn/film_mlp.py), the sampler is deterministic DDIM. What each does:
- native: one call for all steps; it folds each step's scale and shift into the layers when the link is set.
- torch_eager: the module as trained, per step one forward and one fused update with weights worked out
  beforehand.
- torch_eager_folded: what a torch user may do by hand: the step's scale and shift folded into the weights of
  a plain nn.Sequential per step before anything is timed.
- torch_eager_plain: a network of that size without any condition, the same weights in all steps: not the same
  result, but the least that eager torch can take.
- torch_compile: torch.compile of the module as trained.
- onnxruntime, openvino: the folded network of one step for all steps, and the update in numpy.
Torch runs in inference_mode. Runtimes that are not installed are left out; torch.compile says why it is not
there."""
import tempfile
from pathlib import Path

import numpy as np

from .timing import film_rows, mlp_weights, side_by_side, write_mlp

STEPS, NOISE_VAR = 1000, 0.1  # of the schedule, of the observations
FULL = [(128, act, 10, batch) for act in ("relu", "silu", "softplus") for batch in (64, 8192)] + \
       [(32, act, 1, 8192) for act in ("relu", "silu", "softplus")]
QUICK = [(128, "silu", 10, 64), (128, "silu", 10, 8192), (32, "silu", 1, 8192)]


def compare_runtimes(quick, seed):
    """({(width, act, steps, batch): {"vs_torch_eager": ratio, ...}}, {runtime: version or why there is
    none})."""
    makers, versions = available(quick)
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for width, act, steps, batch in QUICK if quick else FULL:
            net = Network(Path(folder), width, act, steps, batch, seed)
            ratios[width, act, steps, batch] = compare(net, makers, versions, quick)
    return ratios, versions


def available(quick):
    """({name: maker}, {name: version}); every runtime that is not there says so."""
    makers, versions = {}, {}
    for module, names in (("torch", ("torch_eager", "torch_eager_folded", "torch_eager_plain",
                                     "torch_compile")),
                          ("onnxruntime", ("onnxruntime",)), ("openvino", ("openvino",))):
        try:
            version = __import__(module).__version__
        except ImportError:
            versions.update({n: f"not available: {module} is not installed" for n in names})
            continue
        makers.update({n: MAKERS[n] for n in names})
        versions.update({n: version for n in names})
    if "torch_eager" not in makers:  # the ONNX file is written by torch
        makers = {}
    if "torch_compile" in makers and (quick or not compiler()):
        versions["torch_compile"] = "not measured with --quick" if quick else "not available: no C++ compiler (CXX or g++)"
        del makers["torch_compile"]
    return makers, versions


def compiler():
    import os
    import shutil
    return shutil.which(os.environ.get("CXX", "g++"))


class Network:
    """A random noise predictor with its condition, what the sampler does with it, and observations."""

    def __init__(self, folder, width, act, steps, batch, seed):
        from gnuradio import diffusion
        self.folder, self.act = folder, act
        self.weights = mlp_weights([2, width, width, width, 2], seed)
        self.film = film_rows(self.weights, STEPS, seed)
        schedule = diffusion.noise_schedule(STEPS)
        start = schedule.matched_step(NOISE_VAR)
        self.ladder = schedule.ladder(start, steps)
        abar = np.append(schedule.alphas_cumprod, 1.0)  # [-1]: the clean symbol
        self.updates = []  # x <- keep * x + output * network(x, t)
        for now, following in zip(self.ladder, self.ladder[1:] + [-1]):
            keep = (abar[following] / abar[now]) ** 0.5
            self.updates.append((float(keep),
                                 float((1 - abar[following]) ** 0.5 - keep * (1 - abar[now]) ** 0.5)))
        rng = np.random.default_rng(seed)
        self.y = rng.standard_normal((batch, 2)).astype(np.float32)
        self.x = (self.y / np.sqrt(1 + NOISE_VAR)).astype(np.float32)
        self.rx = diffusion.engine_receiver(
            write_mlp(folder / "net.safetensors", self.weights, act, STEPS, self.film), steps)
        self.rx.set_noise_var(NOISE_VAR)

    def native(self):
        y = self.y.view(np.complex64)[:, 0]
        return lambda: self.rx.denoise(y)

    def folded(self, step):
        """[(weight, bias)] with the condition of a step in it."""
        row, at, layers = self.film[step], 0, []
        for w, b in self.weights:
            n = len(b)
            scale, shift = 1 + row[at:at + n], row[at + n:at + 2 * n]
            layers.append((scale[:, None] * w, scale * b + shift))
            at += 2 * n
        return layers


def compare(net, makers, versions, quick):
    calls = {"native": net.native()}
    for name, maker in makers.items():
        try:
            calls[name] = maker(net)
            calls[name]()
        except Exception as e:  # an optional runtime that cannot be used is no reason to stop
            calls.pop(name, None)
            versions[name] = "not available: " + (str(e).strip() or repr(e)).splitlines()[0][:120]
    times = side_by_side(calls, 5, 0.02 if quick else 0.1)
    return {f"vs_{name}": float(np.median(np.array(times[name]) / np.array(times["native"])))
            for name in calls if name != "native"}


def torch_net(weights, act):
    """A plain nn.Sequential of these layers."""
    import torch
    torch.set_num_threads(1)
    acts = {"relu": torch.nn.ReLU, "silu": torch.nn.SiLU, "softplus": torch.nn.Softplus}
    layers = []
    for i, (w, b) in enumerate(weights):
        layer = torch.nn.Linear(w.shape[1], w.shape[0])
        layer.weight.data, layer.bias.data = torch.from_numpy(w), torch.from_numpy(b)
        layers += [layer] + ([acts[act]()] if i + 1 < len(weights) else [])
    return torch.nn.Sequential(*layers).eval()


def film_net(net):
    """The module as trained, the project's reference."""
    import torch
    from ..nn.film_mlp import FilmMlp
    torch.set_num_threads(1)
    module = FilmMlp([len(b) for _, b in net.weights[:-1]], 2, "iq", net.act,
                     {"kind": "embedding", "steps": STEPS})
    state = {f"layers.{i}.{kind}": torch.from_numpy(t) for i, pair in enumerate(net.weights)
             for kind, t in zip(("weight", "bias"), pair)}
    module.load_state_dict({**state, "embedding.weight": torch.from_numpy(net.film)})
    return module.eval()


def torch_loop(net, forwards):
    """The sampler around forwards[k](x), the network at step k."""
    import torch
    start = torch.from_numpy(net.x)

    def call():
        with torch.inference_mode():
            x = start
            for forward, (keep, output) in zip(forwards, net.updates):
                x = torch.add(keep * x, forward(x), alpha=output)
            return x.numpy()
    return call


def torch_eager(net):
    import torch
    module, steps = film_net(net), [torch.tensor(t) for t in net.ladder]
    return torch_loop(net, [lambda x, t=t: module(x, t) for t in steps])


def torch_eager_folded(net):
    return torch_loop(net, [torch_net(net.folded(t), net.act) for t in net.ladder])


def torch_eager_plain(net):
    return torch_loop(net, [torch_net(net.weights, net.act)] * len(net.ladder))


def torch_compile(net):
    import torch
    torch._dynamo.reset()
    module, steps = torch.compile(film_net(net)), [torch.tensor(t) for t in net.ladder]
    return torch_loop(net, [lambda x, t=t: module(x, t) for t in steps])


def onnx_file(net):
    import torch
    path = net.folder / "net.onnx"
    torch.onnx.export(torch_net(net.folded(net.ladder[0]), net.act), (torch.zeros(len(net.x), 2),), str(path),
                      input_names=["x"], output_names=["e"], dynamo=False)
    return str(path)


def numpy_loop(net, forward):
    def call():
        x = net.x
        for keep, output in net.updates:
            x = np.float32(keep) * x + np.float32(output) * forward(x)
        return x
    return call


def onnxruntime_session(net):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_file(net), options, ["CPUExecutionProvider"])
    return numpy_loop(net, lambda x: session.run(None, {"x": x})[0])


def openvino_model(net):
    import openvino
    model = openvino.Core().compile_model(onnx_file(net), "CPU",
                                          {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1,
                                           "INFERENCE_PRECISION_HINT": "f32"})
    request = model.create_infer_request()
    return numpy_loop(net, lambda x: request.infer({0: x})[0])


MAKERS = {"torch_eager": torch_eager, "torch_eager_folded": torch_eager_folded,
          "torch_eager_plain": torch_eager_plain, "torch_compile": torch_compile,
          "onnxruntime": onnxruntime_session, "openvino": openvino_model}
