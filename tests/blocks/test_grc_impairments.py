# SPDX-License-Identifier: GPL-3.0-or-later
"""Radio Impairments and Link Metrics as GNU Radio Companion compiles them, with each of their choices."""
import subprocess
import sys

import pytest
import yaml


def block(name, kind, **parameters):
    return {"name": name, "id": kind, "parameters": parameters,
            "states": {"state": "enabled", "coordinate": [0, 0]}}


def compile_graph(folder, blocks, connections):
    graph = {"options": {"parameters": {"id": "graph", "generate_options": "no_gui",
                                        "output_language": "python"},
                         "states": {"state": "enabled", "coordinate": [0, 0]}},
             "blocks": blocks, "connections": connections, "metadata": {"file_format": 1}}
    path = folder / "graph.grc"
    path.write_text(yaml.safe_dump(graph))
    done = subprocess.run([sys.executable, "/usr/bin/grcc", "-o", str(folder), str(path)],
                          capture_output=True,
                          text=True, timeout=120)
    assert (folder / "graph.py").is_file(), done.stdout + done.stderr
    text = (folder / "graph.py").read_text()
    space = {"__name__": "graph"}
    exec(compile(text, "graph.py", "exec"), space)
    return text, space["graph"]()


def test_impairments_from_a_preset_and_custom_with_a_live_slider(tmp_path):
    text, graph = compile_graph(tmp_path, [
        block("samp_rate", "variable", value="1e6"), block("backoff", "variable", value="3"),
        block("source", "blocks_null_source", type="complex"),
        block("sink", "blocks_null_sink", type="complex"),
        block("first", "diffusion_impairments_cc", preset="reference-s2"),
        block("second", "diffusion_impairments_cc", preset="custom", pa="saleh", backoff_db="backoff",
              cfo_hz="100"),
    ], [["source", "0", "first", "0"], ["first", "0", "second", "0"], ["second", "0", "sink", "0"]])
    assert graph.first.get("kappa_tx") == 0.05 and graph.first.get("sample_rate") == 1e6
    assert graph.second.pa() == "saleh" and graph.second.get("cfo_hz") == 100
    graph.set_backoff(7)
    graph.set_samp_rate(2e6)
    assert graph.second.get("backoff_db") == 7 and graph.second.get("sample_rate") == 2e6


@pytest.mark.parametrize("measure, types", [("ber", ("byte", "byte")), ("gmi", ("byte", "float")),
                                            ("evm", ("complex", "complex")), ("frames", ())])
def test_link_metrics_has_the_ports_of_what_it_measures(tmp_path, measure, types):
    blocks = [block("metrics", "diffusion_link_metrics", measure=measure),
              block("debug", "blocks_message_debug")]
    connections = [["metrics", "metrics", "debug", "store"]]
    for port, kind in enumerate(types):
        blocks.append(block(f"source{port}", "blocks_null_source", type=kind))
        connections.append([f"source{port}", "0", "metrics", str(port)])
    text, _ = compile_graph(tmp_path, blocks, connections)
    assert f"diffusion.link_metrics('{measure}'" in text
