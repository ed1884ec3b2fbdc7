# SPDX-License-Identifier: GPL-3.0-or-later
"""run a torch worker for remote_denoiser blocks (CPU or GPU)

Answers denoising requests over ZMQ until it is stopped; start as many as you like, each at its own
address. It listens on this machine only unless --bind says otherwise; on a network, make keys and give
the public one to the clients (server_key).

    gr-diffusion serve rx-qam16
    gr-diffusion serve --make-keys worker.key
    gr-diffusion serve rx-qam16 --bind tcp://0.0.0.0:5757 --device cuda --keys worker.key
"""
import json
import os
import signal
import threading
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json


def add_arguments(parser):
    from ..remote import DEFAULT_ADDRESS
    parser.add_argument("model", nargs="?", help="shipped model's name, or a path")
    parser.add_argument("--bind", default=DEFAULT_ADDRESS, metavar="ADDRESS",
                        help=f"ZMQ endpoint ({DEFAULT_ADDRESS})")
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads of torch (1)")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="CURVE keys of this worker: encrypt, and "
                                                                  "refuse others")
    parser.add_argument("--make-keys", type=Path, metavar="FILE", help="make such keys and stop")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after this time")
    common_options(parser, seed=False)


def make_keys(path):
    import zmq
    public, secret = (k.decode() for k in zmq.curve_keypair())
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            json.dump({"public": public, "secret": secret}, f)
    except FileExistsError:
        raise JobError(f"{path} exists; remove it first if its keys are no longer used") from None
    print(f"keys in {path}; clients take server_key={public}")


def read_keys(path):
    try:
        keys = json.loads(path.read_text())
        return keys["public"], keys["secret"]
    except (ValueError, KeyError, TypeError):
        raise JobError(f"{path} holds no keys; make some with: gr-diffusion serve --make-keys {path}") from None


def run(args):
    if args.make_keys:
        return make_keys(args.make_keys)
    if not args.model:
        raise UsageError("name the model to serve, e.g. gr-diffusion serve rx-qam16")
    try:
        import torch
    except ImportError:
        raise JobError("a worker needs torch: ./run serve installs it, or pip install torch") from None
    from ..nn.receiver import TorchReceiver
    from ..remote import Server

    if args.threads < 1:
        raise UsageError(f"--threads is {args.threads}, use 1 or more")
    torch.set_num_threads(args.threads)
    try:
        torch.empty(1, device=args.device)
    except (RuntimeError, AssertionError) as e:
        raise JobError(f"--device {args.device} is nothing that this torch has ({str(e).splitlines()[0]}); "
                       "cpu always works") from e
    try:
        receiver = TorchReceiver(args.model, args.device)
        server = Server(args.bind, receiver.name,
                        lambda r: receiver(r["payload"], r["noise_var"], r["steps"], r["state"]),
                        read_keys(args.keys) if args.keys else None)
    except (ValueError, RuntimeError) as e:
        raise JobError(str(e).splitlines()[0]) from e
    stop = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stop.set())
    server.start()
    print(f"serving {receiver.name} at {server.address} on {args.device}", flush=True)
    if args.bind.startswith("tcp://") and not args.bind.startswith(("tcp://127.",
                                                                    "tcp://[::1]")) and not args.keys:
        print("note: everybody on this network can use it and read along; --keys FILE encrypts", flush=True)
    stop.wait(args.seconds)
    server.stop()
    print(f"{server.counters['requests']} requests, {server.counters['symbols']} symbols, "
          f"{server.counters['refused']} refused")
    write_json(args.json, server.counters)
