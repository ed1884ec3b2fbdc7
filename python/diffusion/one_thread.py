# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small products: OpenBLAS's threads wait for each other longer than they compute, on a busy machine twenty times."""
import contextlib
import ctypes
import functools
import os


@functools.lru_cache(1)
def _openblas():
    """The OpenBLAS that numpy has loaded, or None."""
    try:
        lib = ctypes.CDLL("libopenblas.so.0", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        lib.openblas_get_num_threads, lib.openblas_set_num_threads
        return lib
    except (OSError, AttributeError):
        return None


@contextlib.contextmanager
def one_thread():
    """OpenBLAS uses one thread inside; another BLAS is left alone. Also a decorator."""
    lib = _openblas()
    before = lib.openblas_get_num_threads() if lib else 1
    if before > 1:
        lib.openblas_set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            lib.openblas_set_num_threads(before)
