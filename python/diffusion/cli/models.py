# SPDX-License-Identifier: GPL-3.0-or-later
"""list the shipped models, or show one model's card

    gr-diffusion models
    gr-diffusion models rx-qam16
"""
from pathlib import Path

from .common import JobError, common_options, write_json


def add_arguments(parser):
    parser.add_argument("name", nargs="?", help="show this model's card")
    common_options(parser, seed=False)


def run(args):
    from gnuradio import diffusion

    models = diffusion.models()
    rows = [{"name": m.name, "task": m.task, "parameters": m.parameters, "card": m.card} for m in models]
    write_json(args.json, {"models": rows})
    if args.name:
        chosen = [m for m in models if m.name == args.name]
        if not chosen:
            raise JobError(f"there is no model '{args.name}'; shipped are: "
                           f"{', '.join(m.name for m in models)}")
        card = Path(chosen[0].card)
        if not card.is_file():
            raise JobError(f"{args.name} has no card at {card}; install again")
        print(card.read_text(), end="")
        return
    for row in rows:
        print(f"{row['name']:<16} {row['task']:<10} {row['parameters']:>9,} parameters")
