# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimator: shapes, types and clear errors, on a shipped model (no torch)."""
import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import model_file

PILOTS = np.arange(0, 64, 4)


@pytest.fixture(scope="module")
def est():
    return diffusion.Estimator("ce-ofdm64-fast")


@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("noise_var", [1e-6, 0.1, 1e3])
def test_contract(est, frames, noise_var):
    rng = np.random.default_rng(1)
    y = rng.standard_normal((frames, 16)) + 1j * rng.standard_normal((frames, 16))
    h, err_var = est(y, PILOTS, noise_var)
    assert h.dtype == np.complex64 and err_var.dtype == np.float32
    assert h.shape == err_var.shape == (frames, 64)
    assert np.isfinite(h).all() and np.isfinite(err_var).all() and (err_var >= 0).all()
    for a, b in zip(est(y, PILOTS, np.full(frames, noise_var)), (h, err_var)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("call, error, message", [
    (lambda e: diffusion.Estimator(None), TypeError, "model is None"),
    (lambda e: diffusion.Estimator("rx-qam16"), ValueError, "'receiver'"),
    (lambda e: e(np.full((1, 16), 1e300), PILOTS, 0.1), ValueError, "single precision"),
    (lambda e: e(np.full((1, 16), None), PILOTS, 0.1), TypeError, "object"),
    (lambda e: e(np.ones((1, 16)), PILOTS + 2**40, 0.1), ValueError, "use 0 to 63"),
    (lambda e: e(np.ones((1, 16)), PILOTS, -1), ValueError, "noise_var is -1")])
def test_bad_input_is_named(est, call, error, message):
    with pytest.raises(error, match=message):
        call(est)


@pytest.mark.parametrize("channel", [3, "ofdm", {"kind": "optical"}])
def test_a_file_of_an_unknown_channel_is_refused(channel, tmp_path):
    path = tmp_path / "odd.safetensors"
    model_file.write_copy(diffusion.model_path("ce-ofdm64-fast"), path, {"channel": channel})
    with pytest.raises(ValueError, match="channel"):
        diffusion.Estimator(path)
