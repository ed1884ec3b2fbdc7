# SPDX-License-Identifier: GPL-3.0-or-later
"""Network kind "film_mlp": a small MLP over one symbol, its layers scaled and shifted by a condition.

    phi = features(input_scale * y)            "iq": [Re, Im]; "iq2": [Re, Im, Re^2, Im^2, Re Im]
    h_{l+1} = act((1 + s_l) (W_l h_l + b_l) + t_l),   out = (1 + s_L) (W_L h_L + b_L) + t_L  [+ skip]

(s_l, t_l) come from the condition (Perez et al. 2018, FiLM), which is constant over a batch: the noise level,
the hardware context. So a batch's network is plain dense layers, which is what the C++ engine runs.

Model file. network = {"kind": "film_mlp", "features", "hidden": [..], "outputs", "activation",
"condition": {"kind": "mlp", "inputs": n_c, "hidden": H} | {"kind": "embedding", "steps": T} | {"kind":
"none"}, "skip": "none" | "gaussian"}. Tensors: layers.L.weight (n_out, n_in), layers.L.bias;
conditioner.0.weight (H, n_c), conditioner.0.bias, conditioner.1.weight (2 sum n_out, H), conditioner.1.bias,
activation between them; or embedding.weight (T, 2 sum n_out). A condition row is [s_0, t_0, s_1, t_1, ...,
s_L, t_L]. normalisation = {"input_scale": "none" | "vp", "condition_mean": [n_c], "condition_scale": [n_c]}:
"vp" is 1 / sqrt(1 + noise_var); the condition enters as (c - mean) / scale.
Skip "gaussian": out += Q phi2(y) + q with phi2 = iq2 of the unscaled y; Q (M, 5), q (M) are the
log-likelihood coefficients of one Gaussian per symbol, so that the network learns what departs from it.
"""
import torch
from torch import nn

ACTIVATIONS = {"none": nn.Identity(), "relu": nn.ReLU(), "silu": nn.SiLU(), "softplus": nn.Softplus(),
               "tanh": nn.Tanh()}
FEATURES = {"iq": 2, "iq2": 5}


def iq2(y):
    """(..., 2) [Re, Im] -> (..., 5) [Re, Im, Re^2, Im^2, Re Im]."""
    re, im = y[..., 0], y[..., 1]
    return torch.stack([re, im, re * re, im * im, re * im], -1)


class FilmMlp(nn.Module):
    """forward(y (..., n, 2), c (..., n_c) or long (...), noise_var (...), skip) -> (..., n, outputs)."""

    def __init__(self, hidden, outputs, features="iq2", activation="silu", condition=None, skip="none",
                 normalisation=None):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation '{activation}' is none of {', '.join(ACTIVATIONS)}")
        if features not in FEATURES:
            raise ValueError(f"features '{features}' is none of {', '.join(FEATURES)}")
        if skip not in ("none", "gaussian"):
            raise ValueError(f"skip '{skip}' is none of none, gaussian")
        self.condition = dict(condition or {"kind": "none"})
        self.config = {"kind": "film_mlp", "features": features, "hidden": list(hidden),
                       "outputs": int(outputs),
                       "activation": activation, "condition": self.condition, "skip": skip}
        self.normalisation = {"input_scale": "none", **(normalisation or {})}
        self.act = ACTIVATIONS[activation]
        widths = [FEATURES[features], *hidden, outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        rows = 2 * sum(widths[1:])
        kind = self.condition["kind"]
        if kind == "mlp":
            n_c, width = self.condition["inputs"], self.condition["hidden"]
            self.conditioner = nn.ModuleList([nn.Linear(n_c, width), nn.Linear(width, rows)])
            nn.init.zeros_(self.conditioner[1].weight)
            nn.init.zeros_(self.conditioner[1].bias)
            self.register_buffer("c_mean", torch.tensor(
                self.normalisation.setdefault("condition_mean", [0.0] * n_c)), persistent=False)
            self.register_buffer("c_scale", torch.tensor(
                self.normalisation.setdefault("condition_scale", [1.0] * n_c)), persistent=False)
        elif kind == "embedding":
            self.embedding = nn.Embedding(self.condition["steps"], rows)
            nn.init.zeros_(self.embedding.weight)
        elif kind != "none":
            raise ValueError(f"condition kind '{kind}' is none of mlp, embedding, none")
        if skip == "gaussian":  # start as the Gaussian receiver
            nn.init.zeros_(self.layers[-1].weight)
            nn.init.zeros_(self.layers[-1].bias)

    @classmethod
    def from_config(cls, network, normalisation=None):
        """From a model file's "network" and "normalisation" objects."""
        if network.get("kind") != "film_mlp":
            raise ValueError(f"network kind '{network.get('kind')}' is not film_mlp")
        return cls(**{k: v for k, v in network.items() if k != "kind"}, normalisation=normalisation)

    def film(self, c):
        """The per-layer (1 + s, t) for a condition, each (..., 1, n_out)."""
        if self.condition["kind"] == "none":
            return [(1.0, 0.0)] * len(self.layers)
        if self.condition["kind"] == "embedding":
            row = self.embedding(c)
        else:
            row = self.conditioner[1](self.act(self.conditioner[0]((c - self.c_mean) / self.c_scale)))
        parts = row.unsqueeze(-2).split([n for l in self.layers for n in (l.out_features,) * 2], -1)
        return [(1 + s, t) for s, t in zip(parts[::2], parts[1::2])]

    def forward(self, y, c=None, noise_var=None, skip=None):
        x = y
        if self.normalisation["input_scale"] == "vp":
            x = y * (1 + torch.as_tensor(noise_var, dtype=y.dtype)[..., None, None]) ** -0.5
        h = iq2(x) if self.config["features"] == "iq2" else x
        film = self.film(c)
        for i, (layer, (scale, shift)) in enumerate(zip(self.layers, film)):
            h = scale * layer(h) + shift
            if i + 1 < len(self.layers):
                h = self.act(h)
        if skip is not None:
            q2, q1 = skip
            h = h + iq2(y) @ q2.transpose(-1, -2) + q1.unsqueeze(-2)
        return h
