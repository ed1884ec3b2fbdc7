# SPDX-License-Identifier: GPL-3.0-or-later
"""The module installs into a prefix of its own and into the system's, is importable there with nothing
exported, others can link to it, and uninstall leaves nothing behind. (The venv is what all tests use.)"""
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

SEES = textwrap.dedent("""
    from pathlib import Path
    from gnuradio import diffusion, gr
    from gnuradio.grc.core.Config import Config
    paths = Config(gr.version(), prefs=gr.prefs()).block_paths
    assert any(list(Path(p).glob("diffusion_quantizer_cc.block.yml")) for p in paths), paths
    assert diffusion.quantizer_cc(4).bits() == 4
    print(diffusion.__file__)
""")


def sh(*command, env=None, cwd=None):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(root, tmp_path_factory):
    """A build tree of its own, for a Python that has never seen the module. Beside the main one, so that the
    compiler's cache knows the objects: it goes by the paths of the headers, which may be relative to it."""
    base = tmp_path_factory.mktemp("install")
    # Not the tests' own venv: that one has the module already.
    sh("/usr/bin/python3", "-m", "venv", "--system-site-packages", "--without-pip", base / "python")
    build = Path(tempfile.mkdtemp(prefix="build-install-", dir=root))
    (base / "build").symlink_to(build)
    yield base
    shutil.rmtree(build)


def configure(root, tree, prefix):
    sh("cmake", "-S", root, "-B", (tree / "build").resolve(), "-G", "Ninja", "-UGR_PYTHON_DIR",
       f"-DPYTHON_EXECUTABLE={tree}/python/bin/python", f"-DCMAKE_INSTALL_PREFIX={prefix}",
       "-DENABLE_TESTING=OFF", "-DENABLE_BENCH=OFF", "-DENABLE_SOAPY=OFF")
    sh("cmake", "--build", (tree / "build").resolve())


def bare_env(tree):
    return {"PATH": "/usr/bin:/bin", "HOME": str(tree)}


@pytest.mark.timeout(900)
def test_plain_prefix(root, tree):
    prefix = tree / "prefix"
    configure(root, tree, prefix)
    sh("cmake", "--install", tree / "build")
    where = sh(tree / "python/bin/python", "-c", SEES, env=bare_env(tree), cwd=tree)
    assert prefix in Path(where.strip()).parents

    listing = sh(prefix / "bin/gr-diffusion", "--help", env=bare_env(tree), cwd=tree)
    assert "doctor" in listing and "models" in listing

    # A module of somebody else's links to ours.
    user = tree / "user"
    user.mkdir()
    (user / "CMakeLists.txt").write_text(textwrap.dedent("""
        cmake_minimum_required(VERSION 3.18)
        project(user CXX)
        set(CMAKE_CXX_STANDARD 17)
        find_package(gnuradio-diffusion 0.1 REQUIRED)
        add_executable(user user.cc)
        target_link_libraries(user gnuradio::gnuradio-diffusion)
    """))
    (user / "user.cc").write_text(textwrap.dedent("""
        #include <gnuradio/diffusion/quantizer_cc.h>
        int main() { return gr::diffusion::quantizer_cc::make(3)->bits() == 3 ? 0 : 1; }
    """))
    sh("cmake", "-S", user, "-B", user / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    sh("cmake", "--build", user / "build")
    sh(user / "build/user")

    sh("cmake", "--build", tree / "build", "--target", "uninstall")
    left = [p for p in prefix.rglob("*") if p.is_file()]
    assert left == []
    assert not list((tree / "python").rglob("gr_diffusion.pth"))


@pytest.mark.timeout(900)
def test_system_prefix_staged(root, tree):
    configure(root, tree, "/usr")
    stage = tree / "stage"
    sh("cmake", "--install", tree / "build", env=dict(os.environ, DESTDIR=str(stage)))
    package = stage / "usr/lib/python3/dist-packages/gnuradio/diffusion"
    assert (package / "__init__.py").is_file()
    assert (stage / "usr/share/gnuradio/grc/blocks/diffusion_quantizer_cc.block.yml").is_file()
    assert not list(stage.rglob("*.pth")), "a staged install must not touch the running system"
    # The library is found relative to the package, wherever the tree stands.
    code = f"import sys; sys.path.append({str(package.parents[1])!r}); from gnuradio import diffusion; " \
           "print(diffusion.__file__)"
    where = sh(tree / "python/bin/python", "-c", code, env=bare_env(tree), cwd=tree)
    assert stage in Path(where.strip()).parents


def test_default_prefix_follows_the_python(root):
    out = sh(sys.executable, root / "cmake/python_paths.py", "prefix")
    assert out.strip() == sys.prefix
    assert sh("/usr/bin/python3", root / "cmake/python_paths.py", "prefix").strip() == "/usr/local"
