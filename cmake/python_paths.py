# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers CMake's questions about the Python that the module is built for, and links a prefix to it.

python_paths.py prefix              the prefix to install to when the user names none
python_paths.py sitedir PREFIX      the package directory below PREFIX, relative to it
python_paths.py link PREFIX SITE BLOCKS MANIFEST
                                    make SITE importable and BLOCKS visible to GRC with nothing
                                    exported, by a .pth file; MANIFEST names it for uninstall
"""
import os
import site
import sys
import sysconfig

PTH = "gr_diffusion.pth"


def prefix():
    if sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX"):
        return sys.prefix
    try:
        from gnuradio import gr
        # Debian's GNU Radio lives in /usr, which belongs to the package manager.
        found = gr.prefix().rstrip("/")
        return "/usr/local" if found == "/usr" else found
    except ImportError:
        return "/usr/local"


def sitedir(root):
    version = "python%d.%d" % sys.version_info[:2]
    if root == "/usr" and os.path.isdir("/usr/lib/python3/dist-packages"):
        return "lib/python3/dist-packages"
    for path in site.getsitepackages():
        if path.startswith(root.rstrip("/") + "/") and "local" not in path[len(root):]:
            return os.path.relpath(path, root)
    return f"lib/{version}/site-packages"


def own_site():
    """The first directory of this Python where a .pth file may be written."""
    places = [sysconfig.get_path("purelib")] + site.getsitepackages() + [site.getusersitepackages()]
    for path in places:
        try:
            os.makedirs(path, exist_ok=True)
        except OSError:
            continue
        if os.access(path, os.W_OK):
            return path
    sys.exit("no writable site-packages: the module installs, but set PYTHONPATH by hand")


def link(root, package_dir, blocks, manifest):
    open(manifest, "w").close()
    if os.environ.get("DESTDIR"):
        return  # staged for a package: the packager's prefix is on the path already
    lines = []
    if os.path.realpath(package_dir) not in {os.path.realpath(p) for p in sys.path}:
        lines.append(package_dir)
    if blocks not in ("/usr/share/gnuradio/grc/blocks", "/usr/local/share/gnuradio/grc/blocks"):
        lines.append(
            "import os; b = %r; e = os.environ.get('GRC_BLOCKS_PATH', ''); "
            "b in e.split(':') or os.environ.__setitem__('GRC_BLOCKS_PATH', e + ':' * bool(e) + b)" % blocks)
    if not lines:
        return
    where = package_dir if package_dir in sys.path else own_site()
    path = os.path.join(where, PTH)
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    with open(manifest, "w") as f:
        f.write(path + "\n")
    print(f"-- Linked {root} into {where}")


if __name__ == "__main__":
    command, *rest = sys.argv[1:] or ["help"]
    if command == "prefix":
        print(prefix())
    elif command == "sitedir" and len(rest) == 1:
        print(sitedir(rest[0]))
    elif command == "link" and len(rest) == 4:
        link(*rest)
    else:
        sys.exit(__doc__)
