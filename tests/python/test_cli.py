# SPDX-License-Identifier: GPL-3.0-or-later
"""Every subcommand explains itself; errors are one sentence and the right exit status."""
import json
import subprocess
import sys

import pytest
from gnuradio.diffusion import cli


def call(*argv, **kwargs):
    code = "import sys; from gnuradio.diffusion.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *map(str, argv)], capture_output=True, text=True, **kwargs)


@pytest.mark.parametrize("name", cli.commands())
def test_help_has_an_example(name):
    done = call(name, "--help")
    assert done.returncode == 0
    assert f"gr-diffusion {name}" in done.stdout.split("\n\n", 1)[1], "the help wants an example"


def test_wrong_usage_is_status_2():
    assert call("no-such-command").returncode == 2
    assert call("models", "--no-such-option").returncode == 2
    assert call().returncode == 2


def test_failed_job_is_status_1_and_one_sentence():
    done = call("models", "rx-nonsense")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no model 'rx-nonsense'") and done.stderr.count("\n") == 1


def test_doctor_finds_nothing_broken(tmp_path):
    report = tmp_path / "deep" / "doctor.json"
    done = call("doctor", "--json", report)
    assert done.returncode == 0, done.stdout
    checks = {c["check"]: c for c in json.loads(report.read_text())["checks"]}
    assert checks["GRC blocks"]["state"] == "ok" and checks["library"]["state"] == "ok"


def test_models_lists_and_shows_cards():
    done = call("models")
    assert done.returncode == 0 and "rx-qam16" in done.stdout
    card = call("models", "rx-qam16")
    assert card.returncode == 0 and "# rx-qam16" in card.stdout
