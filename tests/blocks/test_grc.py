# SPDX-License-Identifier: GPL-3.0-or-later
"""GNU Radio Companion: every block description is complete, every example compiles."""
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = sorted((ROOT / "grc").glob("*.block.yml"))
EXAMPLES = sorted(p for p in (ROOT / "examples").rglob("*.grc")
                  if p.stem != "rtl_tcp_receiver"
                  or Path("/usr/share/gnuradio/grc/blocks/rtlsdr_source.block.yml").exists())


@pytest.mark.parametrize("path", BLOCKS, ids=lambda p: p.stem)
def test_block_description_is_complete(path):
    d = yaml.safe_load(path.read_text())
    assert path.name == d["id"] + ".block.yml" and d["category"] == "[Diffusion]" and d["file_format"] == 1
    assert len(d["documentation"]) > 150
    for p in d.get("parameters", []):
        assert p.get("label") and "dtype" in p
        assert "default" in p or p["dtype"] == "enum" or "options" in p, f"{p['id']} has no default"
    # what is made must exist, with at least as many arguments as the description passes
    from gnuradio import diffusion
    name = d["templates"]["make"].split("diffusion.", 1)[1].split("(")[0].strip()
    block = getattr(diffusion, name)
    for callback in d["templates"].get("callbacks", []):
        assert hasattr(block, callback.split("(")[0].strip()), f"{name} has no {callback}"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """All examples, compiled by grcc in one go."""
    out = tmp_path_factory.mktemp("grcc")
    done = subprocess.run([sys.executable, "/usr/bin/grcc", "-o", str(out), *map(str, EXAMPLES)],
                          capture_output=True, text=True, timeout=280)
    return out, done


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_compiles(path, compiled):
    out, done = compiled
    d = yaml.safe_load(path.read_text())
    program = out / (d["options"]["parameters"]["id"] + ".py")
    assert program.is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    compile(program.read_text(), str(program), "exec")


def headless(path):
    """Without a window and alone; pairs run in tests/hardware."""
    d = yaml.safe_load(path.read_text())
    return d["options"]["parameters"]["generate_options"] == "no_gui" and "pair" not in d["metadata"]


@pytest.mark.parametrize("path", [p for p in EXAMPLES if headless(p)], ids=lambda p: p.stem)
def test_headless_example_runs(path, compiled):
    out, _ = compiled
    d = yaml.safe_load(path.read_text())
    program = out / (d["options"]["parameters"]["id"] + ".py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, cwd=out)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    expected = d["metadata"].get("expect", "")
    assert expected in done.stdout
