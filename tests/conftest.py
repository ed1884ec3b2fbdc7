# SPDX-License-Identifier: GPL-3.0-or-later
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def built_copy():
    """The tests must see the copy that was built from this tree, not one installed elsewhere."""
    from gnuradio import diffusion
    where = Path(diffusion.__file__).resolve()
    assert Path(sys.prefix).resolve() in where.parents, f"tests import {where}, not the copy in {sys.prefix}"


@pytest.fixture(scope="session")
def root():
    return ROOT
