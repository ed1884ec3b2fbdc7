# SPDX-License-Identifier: GPL-3.0-or-later
"""The torch network and its model file."""
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from gnuradio.diffusion.nn.export import load_model, save_model
from gnuradio.diffusion.nn.film_mlp import FilmMlp

METADATA = {"name": "test", "task": "receiver", "prediction_type": "posterior",
            "schedule": {"kind": "continuous"}, "snr_db": [-10, 35]}


def shaken(**kw):
    torch.manual_seed(1)
    net = FilmMlp(**kw)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    return net


def numpy_forward(net, y, c, noise_var, skip):
    """The network again, from the docstring's equations, in float64."""
    w = {k: v.double().numpy() for k, v in net.state_dict().items()}
    act = lambda z: z / (1 + np.exp(-z))
    phi = lambda z: np.stack([z[:, 0], z[:, 1], z[:, 0] ** 2, z[:, 1] ** 2, z[:, 0] * z[:, 1]], -1)
    c = (c - np.array(net.normalisation["condition_mean"])) / np.array(net.normalisation["condition_scale"])
    row = act(c @ w["conditioner.0.weight"].T + w["conditioner.0.bias"])
    row = row @ w["conditioner.1.weight"].T + w["conditioner.1.bias"]
    h, at, n = phi(y / np.sqrt(1 + noise_var)), 0, len(net.layers)
    for i in range(n):
        h = h @ w[f"layers.{i}.weight"].T + w[f"layers.{i}.bias"]
        k = h.shape[1]
        h = (1 + row[at:at + k]) * h + row[at + k:at + 2 * k]
        at += 2 * k
        h = act(h) if i + 1 < n else h
    assert at == row.size
    return h + phi(y) @ skip[0].T + skip[1]


def test_forward_is_the_written_equation():
    net = shaken(hidden=[7, 5], outputs=4, condition={"kind": "mlp", "inputs": 3, "hidden": 6},
                 skip="gaussian",
                 normalisation={"input_scale": "vp", "condition_mean": [1., 2., 3.],
                                "condition_scale": [2., 2., .5]})
    rng = np.random.default_rng(2)
    y, c, skip = rng.normal(size=(9, 2)), rng.normal(size=3), (rng.normal(size=(4, 5)), rng.normal(size=4))
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    out = net(f(y), f(c), f(0.3), tuple(map(f, skip))).detach().numpy()
    np.testing.assert_allclose(out, numpy_forward(net, y, c, 0.3, skip), rtol=2e-5, atol=2e-5)
    # Groups with a condition each give what each gives alone.
    group = net(f(np.stack([y, y])), f(np.stack([c, -c])), f([0.3, 2.0]),
                tuple(f(np.stack([s, s])) for s in skip))
    np.testing.assert_allclose(group[0].detach().numpy(), out, rtol=1e-5, atol=1e-6)


def test_starts_as_the_gaussian_receiver():
    net = FilmMlp([8], 4, condition={"kind": "mlp", "inputs": 1, "hidden": 4}, skip="gaussian")
    y, q2, q1 = torch.randn(10, 2), torch.randn(4, 5), torch.randn(4)
    phi = torch.stack([y[:, 0], y[:, 1], y[:, 0] ** 2, y[:, 1] ** 2, y[:, 0] * y[:, 1]], -1)
    torch.testing.assert_close(net(y, torch.zeros(1), 0.1, (q2, q1)), phi @ q2.T + q1)


@pytest.mark.parametrize("condition", [{"kind": "none"}, {"kind": "embedding", "steps": 10},
                                       {"kind": "mlp", "inputs": 2, "hidden": 3}])
def test_saved_model_is_the_same_network(tmp_path, condition):
    net = shaken(hidden=[6, 6], outputs=2, features="iq", activation="softplus", condition=condition)
    saved = save_model(tmp_path / "m.safetensors", net,
                       {**METADATA, "network": net.config, "normalisation": net.normalisation})
    state, metadata = load_model(tmp_path / "m.safetensors")
    assert metadata == saved and metadata["format"] == 1
    again = FilmMlp.from_config(metadata["network"], metadata["normalisation"])
    again.load_state_dict(state)
    c = torch.tensor(3) if condition["kind"] == "embedding" else torch.tensor([0.1, 0.2])
    y = torch.randn(5, 2)
    assert torch.equal(net(y, c), again(y, c))


def test_metadata_is_strict(tmp_path):
    net = FilmMlp([4], 2)
    good = {**METADATA, "network": net.config}
    for change, message in [({"task": "radio"}, "'radio'"), ({"snr_db": [3, -3]}, "snr_db"),
                            ({"measured": {"ber": float("nan")}}, "measured.ber"),
                            ({"prediction_type": "score"}, "'score'"), ({"network": {}}, "kind")]:
        with pytest.raises(ValueError, match=message):
            save_model(tmp_path / "m.safetensors", net, {**good, **change})
    with pytest.raises(ValueError, match="name"):
        save_model(tmp_path / "m.safetensors", net, {k: v for k, v in good.items() if k != "name"})
    with torch.no_grad():
        net.layers[0].weight[0, 0] = np.inf
    with pytest.raises(ValueError, match="layers.0.weight"):
        save_model(tmp_path / "m.safetensors", net, good)
    assert not list(tmp_path.iterdir())
    json.dumps(save_model(tmp_path / "n.safetensors", FilmMlp([4], 2),
                          {**good, "x": np.float32(1), "y": 1 + 2j}))


@pytest.mark.parametrize("bad, message", [(dict(features="xy"), "'xy'"), (dict(activation="gelu"), "'gelu'"),
                                          (dict(skip="linear"), "'linear'"),
                                          (dict(condition={"kind": "x"}), "'x'")])
def test_unknown_settings_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        FilmMlp([4], 2, **bad)
