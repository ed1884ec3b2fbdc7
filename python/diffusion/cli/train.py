# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a model (PyTorch) and save it as a model file with its card.

example:
    gr-diffusion train receiver --constellation qam16 --seed 1
"""
from . import _tasks


def add_arguments(parser):
    _tasks.add_arguments(parser, "train")


def run(args):
    return _tasks.run(args, "train")
