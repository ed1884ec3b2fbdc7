# SPDX-License-Identifier: GPL-3.0-or-later
"""Every subcommand explains itself; errors are one sentence and the right exit status."""
import json
import subprocess
import sys

import pytest
from gnuradio.diffusion import cli
from gnuradio.diffusion.cli import _tasks


def call(*argv, **kwargs):
    code = "import sys; from gnuradio.diffusion.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *map(str, argv)], capture_output=True, text=True,
                          **kwargs)


@pytest.mark.parametrize("name", cli.commands())
def test_help_has_an_example(name):
    done = call(name, "--help")
    assert done.returncode == 0
    assert f"gr-diffusion {name}" in done.stdout.split("\n\n", 1)[1], "the help wants an example"


# train, evaluate and fit have them in each of their tasks: the next test.
@pytest.mark.parametrize("name", sorted(set(cli.commands()) - {"train", "evaluate", "fit"}))
def test_help_has_seed_and_json(name):
    text = call(name, "--help").stdout
    assert "--seed" in text and "--json" in text


@pytest.mark.parametrize("package", ["train", "evaluate", "fit"])
def test_tasks_have_seed_and_json(package, capsys):
    pytest.importorskip("torch")
    for task in _tasks.tasks(package):
        with pytest.raises(SystemExit, match="0"):
            cli.main([package, task, "--help"])
        text = capsys.readouterr().out
        assert "--seed" in text and "--json" in text, f"{package} {task}"


def test_train_writes_what_its_model_files_say(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from gnuradio.diffusion.train import shaper
    monkeypatch.setattr(shaper, "run", lambda args: save(tmp_path / "m.safetensors"))
    assert cli.main(["train", "shaper", "--json", str(tmp_path / "out.json")]) == 0
    models = json.loads((tmp_path / "out.json").read_text())["models"]
    assert [m["name"] for m in models if m["file"] == str(tmp_path / "m.safetensors")] == ["m"]


def save(path):
    import torch
    from gnuradio.diffusion.nn.export import save_model
    save_model(path, {"w": torch.ones(2)}, {"name": "m", "task": "shaper", "network": {"kind": "none"},
                                            "prediction_type": "epsilon", "schedule": {}, "snr_db": [0, 1]})


def test_wrong_usage_is_status_2():
    assert call("no-such-command").returncode == 2
    assert call("models", "--no-such-option").returncode == 2
    assert call().returncode == 2


@pytest.mark.parametrize("argv", [["link", "--snr", "abc"], ["link", "--seed", "-1"],
                                  ["evaluate", "guard", "--seed", "x"],
                                  ["nonsense"], []])
def test_wrong_usage_is_one_sentence(argv):
    done = call(*argv)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "--help" in done.stderr


@pytest.mark.parametrize("argv,status", [
    (["serve", "rx-qam16", "--device", "cuda:99"], 1), (["serve", "rx-qam16", "--device", "abacus"], 1),
    (["serve", "rx-qam16", "--threads", "0"], 2), (["serve"], 2), (["record", "x", "--seconds", "-1"], 2),
    (["replay", "x", "--chain", "ls"], 2), (["replay", "no-such-recording"], 1)])
def test_what_cannot_be_is_one_sentence(argv, status, capsys, tmp_path, monkeypatch):
    if argv[0] == "serve":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_closed_pipe_is_no_traceback():
    code = "import sys; from gnuradio.diffusion.cli import main; sys.exit(main(['models', 'rx-qam16']))"
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
    job.stdout.close()
    text = job.stderr.read()
    job.stderr.close()
    assert job.wait() == 1 and text == ""


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
