# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs nobody here wrote need around them: a system bus, Avahi, a sound server; all private to a
test."""
import os
import shutil
import socket
import subprocess
import time

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>"""
AVAHI = "[server]\nhost-name=gr-diffusion-test\nuse-ipv6=no\nallow-interfaces=lo\nenable-dbus=yes\n"


def missing(*programs):
    """The first program that is not installed, or ''."""
    return next((p for p in programs if shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin") is None), "")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Processes:
    """Programs that belong to a test, ended with it, last first."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, command, env=None, ready=lambda log: True, seconds=20):
        """Starts a program and waits until ready(its log); returns "" or what went wrong."""
        log = self.folder / f"{name}.log"
        with open(log, "w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL,
                                       env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin",
                                            **(env or {})},
                                       cwd=self.folder)
        self.running.append(process)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = log.read_text(errors="replace")
            if process.poll() is not None:
                return f"{name} ended: {text[-500:]}"
            if ready(text):
                return ""
            time.sleep(0.05)
        return f"{name} is not ready: {log.read_text(errors='replace')[-500:]}"

    def stop(self):
        for p in reversed(self.running):
            p.terminate()
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


def soapy_server(processes, port):
    """SoapySDRServer with what it insists on: it ends itself where no Avahi runs. Returns "" or what went
    wrong."""
    folder = processes.folder
    bus = folder / "bus"
    (folder / "bus.conf").write_text(BUS.format(path=bus))
    (folder / "avahi.conf").write_text(AVAHI)
    env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    return (processes.start("dbus", ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork"],
                            ready=lambda log: bus.exists())
            or processes.start("avahi", ["avahi-daemon", "-f", str(folder / "avahi.conf"), "--no-drop-root",
                                         "--no-chroot",
                                         "--no-rlimits"], env, lambda log: "startup complete" in log)
            or processes.start("server", ["SoapySDRServer", f"--bind=tcp://127.0.0.1:{port}"], env,
                               lambda log: "Press Ctrl+C" in log))
