# SPDX-License-Identifier: GPL-3.0-or-later
"""check the installation and say how to mend it

Looks at Python, NumPy, GNU Radio, the compiled library, GNU Radio Companion's block paths, the shipped
models, the SIMD target, SoapySDR devices and the optional packages. Exit status 1 if anything that
streaming needs is broken.

    gr-diffusion doctor
"""
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .common import common_options, write_json

OK, NOTE, BAD = "ok", "note", "BAD"


def add_arguments(parser):
    common_options(parser, seed=False)


def check_python():
    import numpy
    if int(numpy.__version__.split(".")[0]) >= 2:
        return BAD, f"NumPy {numpy.__version__}", "pip install 'numpy<2' (GNU Radio was built for NumPy 1)"
    return OK, f"{sys.version.split()[0]} at {sys.executable}, NumPy {numpy.__version__}", ""


def check_gnuradio():
    try:
        from gnuradio import gr
    except ImportError as e:
        return (BAD, str(e),
                "use the Python that GNU Radio was built for (Debian: /usr/bin/python3), or apt install "
                "gnuradio")
    if not gr.version().startswith("3.10"):
        return BAD, gr.version(), "this module is for GNU Radio 3.10"
    return OK, f"{gr.version()}, prefix {gr.prefix()}", ""


def check_module():
    try:
        from gnuradio import diffusion
    except ImportError as e:
        return BAD, str(e), "run the build again: cmake --build build --target install"
    return OK, f"{diffusion.__version__} at {Path(diffusion.__file__).parent}", ""


def loaded_library():
    """Path of libgnuradio-diffusion in this process."""
    from gnuradio import diffusion  # noqa: F401  (loads it)
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "libgnuradio-diffusion" in line:
            return Path(line.split()[-1])
    return None


def check_library():
    path = loaded_library()
    if path is None:
        return BAD, "not loaded", "the package was found but not its library: install again"
    package = Path(importlib.util.find_spec("gnuradio.diffusion").origin)
    if os.path.commonpath([path, package]) in ("/", ""):
        return (NOTE, f"{path} does not belong to {package.parent}",
                "an older copy shadows this one: uninstall it")
    return OK, str(path), ""


def check_simd():
    from gnuradio import diffusion
    return OK, diffusion.simd_target(), ""


def check_grc():
    from gnuradio import gr
    from gnuradio.grc.core.Config import Config

    paths = Config(gr.version(), prefs=gr.prefs()).block_paths
    for path in paths:
        found = sorted(Path(path).glob("diffusion_*.block.yml"))
        if found:
            return OK, f"{len(found)} blocks in {path}", ""
    return (NOTE, "GNU Radio Companion does not see the blocks (looked in " + ":".join(map(str, paths)) + ")",
            "export GRC_BLOCKS_PATH=PREFIX/share/gnuradio/grc/blocks, or start it with this Python: "
            f"{sys.executable} $(which gnuradio-companion)")


def check_models():
    from gnuradio import diffusion
    models = diffusion.models()
    if not models:
        return (BAD, "none found",
                "install again, or set GR_DIFFUSION_MODELS to the folder that holds *.safetensors")
    return OK, f"{len(models)}: " + " ".join(m.name for m in models), ""


def check_soapy():
    tool = shutil.which("SoapySDRUtil")
    if tool is None:
        return NOTE, "SoapySDRUtil not found", "apt install soapysdr-tools to list radios"
    out = subprocess.run([tool, "--find"], capture_output=True, text=True, timeout=60).stdout
    drivers = sorted({line.split("=")[1].strip() for line in out.splitlines()
                      if line.strip().startswith("driver =")})
    return OK, "devices: " + (", ".join(drivers) or "none attached"), ""


def check_torch():
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return (NOTE, "not installed (only training and evaluation need it)",
                "./run train installs it, or pip install torch")
    return OK, version, ""


CHECKS = [
    ("Python", check_python), ("GNU Radio", check_gnuradio), ("module", check_module),
    ("library", check_library),
    ("SIMD target", check_simd), ("GRC blocks", check_grc), ("models", check_models),
    ("SoapySDR", check_soapy),
    ("torch", check_torch),
]


def run(args):
    results = []
    for name, check in CHECKS:
        try:
            state, found, fix = check()
        except Exception as e:  # a doctor that dies of what it should report helps nobody
            state, found, fix = BAD, f"{type(e).__name__}: {e}", "see the message; install again if in doubt"
        results.append({"check": name, "state": state, "found": found, "fix": fix})
        print(f"{state:>4}  {name:<12} {found}")
        if fix and state != OK:
            print(f"      {'':<12} -> {fix}")
    write_json(args.json, {"checks": results})
    return int(any(r["state"] == BAD for r in results))
