# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile of the receiver chains: what is made of perf's report, and what is said where perf cannot be
used."""
import pytest

from gnuradio.diffusion.benchmarks import profile
from gnuradio.diffusion.cli import bench, common

REPORT = """# comment
    30.00%;native_ofdm_rx1;libgnuradio-diffusion.so;[.] gr::diffusion::dsp::frame_sync::impl::process
    20.00%;native_ofdm_rx1;libgnuradio-diffusion.so;[.] gr::diffusion::engine::N_AVX2::tile<6ul, 2ul>
    10.00%;native_ofdm_rx1;libgnuradio-diffusion.so;[.] gr::diffusion::engine::toeplitz_inverse::run
    35.00%;vector_source2;libc.so.6;[.] memcpy
     5.00%;python;python3.11;[.] eval
"""


def test_shares_are_of_the_receivers_thread():
    result = profile.add_up(REPORT)
    assert result["stages"] == pytest.approx({"frame synchronisation": 0.5, "estimator: network": 1 / 3,
                                              "estimator: guided steps": 1 / 6})
    assert result["functions"][0] == (0.5, "gr::diffusion::dsp::frame_sync::impl::process")
    text = profile.markdown({"classical": result, "diffusion": result})
    assert "| frame synchronisation | 50.0% | 50.0% |" in text


def test_no_sample_is_said():
    with pytest.raises(profile.NoProfiler, match="no sample"):
        profile.add_up("     5.00%;python;python3.11;[.] eval\n")


def test_without_perf_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(profile.shutil, "which", lambda name: None)
    parser = __import__("argparse").ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(common.JobError, match="linux-perf"):
        bench.run(parser.parse_args(["--profile"]))


SCRIPT = """native_ofdm_rx1 
	 1 std::copy<int*>(int*)
	 2 gr::diffusion::engine::(anonymous namespace)::dot
	 3 gr::diffusion::dsp::native_receiver::advance
	 4 gr::diffusion::native_ofdm_rx_impl::general_work
	 5 gr::block_executor::run_one_iteration

vector_source1 
	 1 gr::blocks::vector_source::work

native_ofdm_rx1 
	 3 gr::diffusion::dsp::native_receiver::advance
	 4 gr::diffusion::native_ofdm_rx_impl::general_work
"""


def test_stacks_of_the_receiver_only():
    from gnuradio.diffusion.benchmarks import flame
    found = list(flame.stacks(SCRIPT))
    assert found == [["native_ofdm_rx_impl::general_work", "dsp::native_receiver::advance", "engine::dot",
                      "std::copy"],
                     ["native_ofdm_rx_impl::general_work", "dsp::native_receiver::advance"]]
    root = flame.Frame()
    for stack in found:
        root.add(stack)
    boxes = {name: (start, width, level) for name, start, width, level in flame.boxes_of(root, root.samples)}
    assert boxes["dsp::native_receiver::advance"] == (0, 1, 1) and boxes["engine::dot"] == (0, 0.5, 2)


def test_flame_graph_is_drawn(tmp_path):
    import pytest
    from gnuradio.diffusion.benchmarks import flame
    flame.draw(SCRIPT, tmp_path / "flame.png", "title")
    assert (tmp_path / "flame.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="no sample"):
        flame.draw("", tmp_path / "none.png", "title")
