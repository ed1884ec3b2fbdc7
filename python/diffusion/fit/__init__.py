# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitting models to measurements: one module a task, with add_arguments(parser) and run(args)."""
