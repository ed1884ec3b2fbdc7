# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote denoiser's wire: workers that die, stall, lie or talk nonsense never lose or reorder a
symbol."""
import threading
import time

import numpy as np
import pytest
import zmq
from gnuradio.diffusion import remote

LOCAL = "tcp://127.0.0.1:*"
DOUBLE = 2.0  # what a worker does to symbols; the fallback negates


def native(y, noise_var, steps):
    return -y


def worker(compute=lambda f: f["payload"] * DOUBLE, model="m", **kwargs):
    server = remote.Server(LOCAL, model, compute, **kwargs)
    server.start()
    return server


def wait_alive(client, n, seconds=5):
    """Calls until n workers answer; everything on the way must come back from the fallback or a worker."""
    deadline = time.monotonic() + seconds
    while client.workers_alive() < n and time.monotonic() < deadline:
        client(np.ones(4, np.complex64), 0.1)
        time.sleep(0.02)
    assert client.workers_alive() == n


def symbols(n=1001, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(np.complex64)


def test_round_trip_and_every_broken_message_is_named():
    y = symbols(5)
    good = remote.pack(remote.REQUEST, 7, "rx", 5, 0.25, 2, np.arange(3.0), y)
    fields = remote.unpack(good)
    assert (fields["sequence"], fields["noise_var"], fields["steps"], fields["model"]) == (7, 0.25, 2, "rx")
    np.testing.assert_array_equal(fields["payload"], y)
    np.testing.assert_array_equal(fields["state"], np.arange(3.0))
    rng = np.random.default_rng(2)
    for k in range(400):
        frames = [bytearray(f) for f in good]
        which = rng.integers(4)
        frames[which][rng.integers(len(frames[which]))] ^= 1 << rng.integers(8)
        with pytest.raises(remote.WireError):  # whatever bit it is
            remote.unpack(frames)
    for frames in ([], good[:3], good + [b""], [b"x"] * 4, [good[0][:-1], *good[1:]]):
        with pytest.raises(remote.WireError):
            remote.unpack(frames)


def test_no_worker_falls_back_at_once():
    client = remote.Client(["tcp://127.0.0.1:9"], "m", native, timeout=5)
    y = symbols()
    start = time.monotonic()
    np.testing.assert_array_equal(client(y, 0.1), -y)
    assert time.monotonic() - start < 4, "nobody is there, so nothing must be waited for"
    assert client.counters["native"] == y.size
    client.close()


def test_several_workers_keep_the_order():
    delays = iter(np.random.default_rng(3).uniform(0, 0.02, 10000))
    lock = threading.Lock()

    def compute(f):
        with lock:
            delay = next(delays)
        time.sleep(delay)
        return f["payload"] * DOUBLE

    servers = [worker(compute) for _ in range(3)]
    client = remote.Client([s.address for s in servers], "m", native, timeout=5)
    wait_alive(client, 3)
    for k in range(10):
        y = symbols(777 + k, k)
        np.testing.assert_array_equal(client(y, 0.1), DOUBLE * y)
    assert all(s.counters["requests"] >= 10 for s in servers)
    client.close()
    for s in servers:
        s.stop()


def test_a_worker_that_dies_or_stalls_loses_nothing():
    stall = threading.Event()

    def compute(f):
        if stall.is_set():
            time.sleep(1.0)
        return f["payload"] * DOUBLE

    slow, good = worker(compute), worker()
    client = remote.Client([slow.address, good.address], "m", native, timeout=0.4)
    wait_alive(client, 2)
    stall.set()
    y = symbols()
    np.testing.assert_array_equal(client(y, 0.1), DOUBLE * y)
    assert client.counters["resent"] >= 1
    good.stop()
    out = client(y, 0.1)  # now nobody answers in time
    np.testing.assert_array_equal(out, -y)
    stall.clear()
    slow.stop()
    client.close()


def test_a_worker_that_lies_is_refused():
    for reply in (lambda f: f["payload"][:-1], lambda f: f["payload"] * np.nan, lambda f: 1 / 0):
        server = worker(reply)
        client = remote.Client([server.address], "m", native, timeout=0.3)
        deadline = time.monotonic() + 5
        y = symbols()
        while client.counters["refused"] == 0 and time.monotonic() < deadline:
            np.testing.assert_array_equal(client(y, 0.1), -y)
            time.sleep(0.02)
        assert client.counters["refused"] >= 1 and client.counters["remote"] == 0
        client.close()
        server.stop()


def test_another_model_is_refused_by_name():
    server = worker(model="other")
    client = remote.Client([server.address], "mine", native, timeout=0.3)
    deadline = time.monotonic() + 5
    while not client.last_refusal and time.monotonic() < deadline:
        client(symbols(), 0.1)
        time.sleep(0.02)
    assert "runs other, not mine" in client.last_refusal
    client.close()
    server.stop()


def test_nonsense_from_a_server_and_to_a_server():
    context = zmq.Context()
    babbler = context.socket(zmq.ROUTER)
    babbler.linger = 0
    port = babbler.bind_to_random_port("tcp://127.0.0.1")
    client = remote.Client([f"tcp://127.0.0.1:{port}"], "m", native, timeout=0.1)
    y = symbols(64)
    rng = np.random.default_rng(5)
    deadline = time.monotonic() + 5
    while client.counters["refused"] < 3 and time.monotonic() < deadline:
        np.testing.assert_array_equal(client(y, 0.1), -y)
        while babbler.poll(20):
            who = babbler.recv_multipart()[0]
            babbler.send_multipart([who] +
                                   [rng.bytes(rng.integers(0, 50)) for _ in range(rng.integers(1, 6))])
    assert client.counters["refused"] >= 3
    client.close()

    server = worker()
    bad = context.socket(zmq.DEALER)
    bad.linger = 0
    bad.connect(server.address)
    for _ in range(50):
        bad.send_multipart([rng.bytes(rng.integers(0, 60)) for _ in range(rng.integers(1, 6))])
    client = remote.Client([server.address], "m", native, timeout=1)
    wait_alive(client, 1)
    np.testing.assert_array_equal(client(y, 0.1), DOUBLE * y)
    assert server.counters["refused"] >= 1
    client.close()
    server.stop()
    bad.close()
    context.destroy(linger=0)


def test_a_frame_too_large_is_not_even_read():
    server = worker()
    context = zmq.Context()
    bad = context.socket(zmq.DEALER)
    bad.linger = 0
    bad.connect(server.address)
    bad.send_multipart([bytes(remote.MAX_FRAME + 1)] * 4)
    client = remote.Client([server.address], "m", native, timeout=1)
    wait_alive(client, 1)
    y = symbols(64)
    np.testing.assert_array_equal(client(y, 0.1), DOUBLE * y)
    assert server.counters["refused"] == 0 and not bad.poll(100)
    client.close()
    server.stop()
    bad.close()
    context.destroy(linger=0)


def test_another_version_is_refused_by_number():
    frames = remote.pack(remote.PING, 1)
    header = bytearray(frames[0])
    header[4] = 1
    with pytest.raises(remote.WireError, match="version 1; this side speaks 2"):
        remote.unpack([header, *frames[1:]])


def test_curve_keys_are_needed_where_set():
    public, secret = (k.decode() for k in zmq.curve_keypair())
    server = worker(curve_keys=(public, secret))
    y = symbols(32)
    stranger = remote.Client([server.address], "m", native, timeout=0.1)
    friend = remote.Client([server.address], "m", native, timeout=1, server_key=public)
    wait_alive(friend, 1)
    np.testing.assert_array_equal(friend(y, 0.1), DOUBLE * y)
    np.testing.assert_array_equal(stranger(y, 0.1), -y)
    assert stranger.workers_alive() == 0
    for c in (stranger, friend):
        c.close()
    server.stop()


def test_a_worker_listens_on_this_machine_unless_told_otherwise():
    import argparse
    from gnuradio.diffusion.cli import serve
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    assert parser.parse_args(["rx-qam16"]).bind.startswith("tcp://127.0.0.1:")
    assert remote.DEFAULT_ADDRESS.startswith("tcp://127.0.0.1:")
    server = worker()  # at 127.0.0.1: another address of the same machine does not reach it
    port = int(server.address.rsplit(":", 1)[1])
    client = remote.Client([f"tcp://127.0.0.2:{port}"], "m", native, timeout=0.1)
    for _ in range(20):
        client(np.ones(4, np.complex64), 0.1)
        time.sleep(0.02)
    assert client.workers_alive() == 0 and server.counters["requests"] == 0
    client.close()
    server.stop()


@pytest.mark.parametrize("arguments, named", [
    (dict(addresses=[]), "no worker address"), (dict(addresses=["nonsense"]), "nonsense"),
    (dict(addresses=["tcp://127.0.0.1:5"], timeout=0), "timeout is 0"),
    (dict(addresses=["tcp://127.0.0.1:5"], server_key="short"), "5 characters")])
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        remote.Client(model="m", fallback=native, **arguments)
