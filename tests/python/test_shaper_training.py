# SPDX-License-Identifier: GPL-3.0-or-later
"""The shaper's objectives against the baselines' formulas, and its training end to end."""
import re

import numpy as np
import pytest
import torch
from gnuradio import diffusion
from gnuradio.diffusion import square_grid
from gnuradio.diffusion.baselines import shaper as baseline
from gnuradio.diffusion.baselines.shaper_impaired import ImpairedLink
from gnuradio.diffusion.cli import main
from gnuradio.diffusion.nn.shaping import AwgnObjective, ImpairedObjective


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_awgn_objective_is_the_mutual_information(bits):
    points = square_grid.square_qam(bits)
    class_of, size = square_grid.orbits(points)
    rng = np.random.default_rng(bits)
    logits, snr = rng.standard_normal((4, size.size)), np.array([-4.0, 5.0, 14.0, 23.0])
    ours = AwgnObjective(points)(torch.tensor(logits), torch.tensor(snr)).numpy()
    m = 1 << bits // 2
    for value, row, s in zip(ours, logits, snr):
        p = np.exp(row)[class_of]
        true = baseline.mi_awgn_square(square_grid.rail_levels(m), (p / p.sum()).reshape(m, m), s)
        assert value == pytest.approx(true, abs=2e-3)


def test_impaired_objective_is_the_mutual_information():
    points = square_grid.square_qam(6)
    class_of, size = square_grid.orbits(points)
    rng = np.random.default_rng(1)
    logits = 0.5 * rng.standard_normal((3, size.size))
    snr, phase, log_drive = np.array([10.0, 16.0, 22.0]), np.array([0.0, 3.0,
                                                                    6.0]), np.array([-0.2, 0.1, 0.4])
    for adc in (3, 5):
        ours = ImpairedObjective(points)(*map(torch.tensor, (logits, log_drive, snr, phase)), adc).numpy()
        for i in range(3):
            p = np.exp(logits[i])[class_of]
            link = ImpairedLink(snr[i], phase[i], adc)
            assert ours[i] == pytest.approx(link.information(p / p.sum(), np.exp(log_drive[i])), abs=5e-3)


def test_training_is_seeded_and_its_model_shapes(tmp_path):
    for folder in ("a", "b"):
        assert main(["train", "shaper", "--constellation", "qam16", "--steps", "150", "--hidden", "16",
                     "--output", str(tmp_path / folder)]) == 0
    files = [(tmp_path / f / "ps-qam16.safetensors").read_bytes() for f in ("a", "b")]
    assert files[0] == files[1]
    card = (tmp_path / "a" / "ps-qam16.md").read_text()
    assert "--steps 150" in card and "Blahut-Arimoto" in card
    shaper = diffusion.Shaper(tmp_path / "a" / "ps-qam16.safetensors")
    levels = square_grid.rail_levels(4)
    rate = baseline.mi_awgn_square(levels, shaper.pmf(8).reshape(4, 4), 8)
    uniform, best = baseline.mi_uniform(levels, 8), baseline.blahut_arimoto_awgn(levels, 8)[0]
    assert rate > uniform + 0.5 * (best - uniform)


def test_orbits_are_what_the_square_maps_to_itself():
    for bits, classes in ((4, 3), (6, 10), (8, 36)):
        points = square_grid.square_qam(bits)
        class_of, size = square_grid.orbits(points)
        assert size.size == classes and set(size) <= {4, 8} and size.sum() == points.size
        for move in (lambda c: 1j * c, np.conj):
            moved = np.argmin(np.abs(move(points)[:, None] - points), 1)
            np.testing.assert_array_equal(class_of[moved], class_of)


@pytest.mark.parametrize("change, what", [
    (lambda t, d: d["shaping"]["classes"].pop(), "one class a point"),
    (lambda t, d: d["shaping"]["classes"].__setitem__(0, 250), "power of two"),
    (lambda t, d: d["shaping"]["classes"].__setitem__(0, "x"), "classes"),
    (lambda t, d: d.pop("shaping"), "shaping is missing"),
    (lambda t, d: d["shaping"]["hardware"].update(phase_noise_deg=[6, 0]), "lowest, highest"),
    (lambda t, d: d["shaping"]["hardware"].update(snr_db=[-20, 60], phase_noise_deg=[0, 10],
                                                  adc_bits=[1, 12]),
     "65536"),
    (lambda t, d: d["network"]["condition"].update(inputs=1), "inputs|conditioner"),
    (lambda t, d: t["layers.0.weight"].fill_(1.0), "must be zero"),
    (lambda t, d: t.pop("drive.weight"), "drive.weight"),
    (lambda t, d: t["conditioner.1.bias"].fill_(3e38), None),
    (lambda t, d: t["conditioner.1.weight"].mul_(1e37), None),
    (lambda t, d: d.update(task="receiver"), "only a shaper"),
    (lambda t, d: d["constellation"]["points"].reverse(), None),
    (lambda t, d: d["constellation"]["points"].__setitem__(0, [0.0, 1.52]), "grid|power"),
])
def test_broken_models_are_refused_or_harmless(change, what, tmp_path):
    from gnuradio.diffusion.nn.export import load_model, save_model
    source = next(m.path for m in diffusion.models() if m.name == "ps-qam64")
    tensors, description = load_model(source)
    change(tensors, description)
    path = tmp_path / "ps-broken.safetensors"
    save_model(path, tensors, description)
    try:
        shaper = diffusion.Shaper(path)
    except ValueError as e:
        assert what is None or re.search(what, str(e)), str(e)
        return
    assert what is None, "accepted"
    bits = np.ones(500, np.uint8)
    np.testing.assert_array_equal(shaper.decode(*shaper.encode(bits, 10.0)), bits)
