# SPDX-License-Identifier: GPL-3.0-or-later
"""What GNU Radio Companion says of a block's parameters: defaults are taken, nonsense is refused before it
runs."""
import pytest
from gnuradio import gr

NAMES = {"sample_rate": "32000", "sync_symbol1": "[1.0] * 64"}  # what a flowgraph brings along
WRONG = {
    "denoiser_cc": {"model": [""], "noise_var": ["0"], "steps": ["-1", "1.5"], "mode": ["fast"]},
    "soft_demapper_cf": {"model": [""], "noise_var": ["0"], "mode": ["fast"]},
    "ofdm_channel_estimator_vcvc": {"method": ["omp"], "n_data_symbols": ["0"], "max_carr_offset": ["-2"],
                                    "sync_symbol1": ["[]"], "sync_symbol2": ["[1, 2]"]},
    "mimo_channel_estimator": {"model": [""], "method": ["omp"], "noise_var": ["0"], "pilots": ["[1, 2, 3]"],
                               "nt": ["0"]},
    "shaper_bc": {"model": [""], "block_length": ["63", "8193"], "matcher": ["huffman"],
                  "phase_noise_deg": ["-1", "7"]},
    "deshaper_cb": {"model": [""], "block_length": ["63", "8193"], "matcher": ["huffman"],
                    "phase_noise_deg": ["-1", "7"]},
    "shaped_parity": {"model": [""], "code": ["1/7"]},
    "shaped_decoder": {"model": [""], "code": ["1/7"], "iterations": ["0"]},
    "impairments_cc": {"sample_rate": ["0"], "signal_power": ["0"], "iq_gain_db": ["41"],
                       "iq_phase_deg": ["-91"],
                       "dc": ["-101"], "backoff_db": ["61"], "smoothness": ["0"],
                       "phase_noise_deg": ["-1", "361"],
                       "linewidth_hz": ["-1"], "kappa_tx": ["-1", "11"], "kappa_rx": ["-1"],
                       "order": ["both"],
                       "seed": ["-1"]},
    "quantizer_cc": {"bits": ["0", "17", "2.5"], "full_scale": ["0"], "seed": ["-1"]},
    "ofdm_tx": {"modulation": ["qam32"], "pilots": ["none"], "amplitude": ["0", "1e300"], "fft_len": ["63"],
                "cp_len": ["2"], "max_payload": ["0", "65536"], "guard": ["-2"], "shaping_snr_db": ["1000"]},
    "ofdm_rx": {"estimator": ["omp"], "demapper": ["hard"], "fft_len": ["63"], "max_cfo": ["-1"],
                "max_payload": ["0"]},
    "link_metrics": {"period": ["0"], "bits_per_symbol": ["0", "17"]},
    "remote_denoiser": {"model": [""], "noise_var": ["0"], "addresses": ["[]"], "steps": ["6"],
                        "timeout": ["0"]},
    "sequence_denoiser_cc": {"model": [""], "noise_var": ["0"], "gain": ["0"]},
    "sequence_receiver": {"model": [""], "noise_var": ["0"], "nfft": ["0"], "sps": ["1"],
                          "rolloff": ["0", "1.1"],
                          "symbols": ["0"], "rounds": ["21"], "constellation": ["qam32"]},
    "interference_receiver": {"constellation": ["qam32"], "noise_var": ["0"], "block": ["63"],
                              "rounds": ["0"]},
    "carousel_source": {"payload": ["7", "4097"], "rounds": ["-1"]},
    "radio_source": {"sample_rate": ["0"], "bandwidth": ["-1"], "gain": ["300"]},
    "radio_sink": {"sample_rate": ["0"], "bandwidth": ["-1"], "gain": ["300"]},
}


@pytest.fixture(scope="module")
def platform():
    core = pytest.importorskip("gnuradio.grc.core.platform")
    p = core.Platform(version=gr.version(), version_parts=(gr.major_version(), gr.api_version(),
                                                           gr.minor_version()),
                      prefs=gr.prefs())
    p.build_library()
    return p


def complaints(graph, block):
    graph.rewrite()
    graph.validate()
    return [e for e in block.get_error_messages() if "port" not in e.lower()]


@pytest.mark.parametrize("name", WRONG)
def test_defaults_are_taken_and_nonsense_refused(platform, name):
    graph = platform.make_flow_graph()
    block = graph.new_block("diffusion_" + name)
    block.params["id"].set_value("the_block")
    for key, value in NAMES.items():
        if key in block.params:
            block.params[key].set_value(value)
    assert complaints(graph, block) == []
    for key, values in WRONG[name].items():
        for value in values:
            before = block.params[key].get_value()
            block.params[key].set_value(value)
            assert complaints(graph, block), f"{key} = {value} is taken"
            block.params[key].set_value(before)
    assert complaints(graph, block) == []
