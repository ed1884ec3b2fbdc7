# SPDX-License-Identifier: GPL-3.0-or-later
"""Ray-traces the test channels of a city that no model was trained on, with Sionna RT (Apache-2.0).

    python -m venv rt && rt/bin/pip install sionna-rt && apt-get install libllvm19
    DRJIT_LIBLLVM_PATH=/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1 rt/bin/python make_city.py florence .

An environment of its own: Sionna RT wants NumPy 2, this package NumPy 1. LLVM 14 to 16 crash it.
Writes siso_CITY.npz, 64 carriers over 20 MHz at 2.4 GHz between isotropic antennas, and mimo_CITY.npz, 28 GHz
narrowband from an 8 x 8 array (TR 38.901 elements) to a 4 x 4 one. Every user's channel has unit mean power
and is kept as float16 pairs: rounding errors are below -66 dB. The model files' training cities (etoile,
munich) are traced under the same rules: five masts with a view, users outdoors within 300 m (SISO) or 200 m
and 60 degrees off the array's axis (MIMO), up to four reflections and diffractions, no scattering, weak links
dropped.
"""

import argparse
import zlib
from pathlib import Path

import mitsuba

mitsuba.set_variant("llvm_ad_mono_polarized")
import drjit
import numpy as np
import sionna.rt as rt

HEIGHTS = (25.0, 10.0, 30.0, 25.0, 10.0)
SOLVER = dict(
    max_depth=4,
    samples_per_src=200_000,
    max_num_paths_per_src=400_000,
    los=True,
    specular_reflection=True,
    diffuse_reflection=False,
    refraction=False,
    diffraction=True,
    edge_diffraction=False,
    synthetic_array=True,
)


class City:
    """Where people can stand, who sees whom, and the channels between them."""

    def __init__(self, name):
        self.scene = rt.load_scene(getattr(rt.scene, name))
        self.solver = rt.PathSolver()
        box = self.scene.mi_scene.bbox()
        self.low, self.high = np.array(box.min), np.array(box.max)
        shapes = [s for s in self.scene.mi_scene.shapes() if "terrain" in s.id().lower()]
        number = lambda s: np.array(drjit.reinterpret_array(mitsuba.UInt32, mitsuba.ShapePtr(s)))[0]
        self.terrain = [number(s) for s in shapes]

    @staticmethod
    def _point(p):
        return mitsuba.Point3f(*(mitsuba.Float(np.ascontiguousarray(c, np.float32)) for c in np.transpose(p)))

    def ground(self, xy):
        """Height of the ground at xy (n, 2), NaN where something stands on it or there is none."""
        top = float(self.high[2]) + 10
        from_above = np.column_stack([xy, np.full(len(xy), top)])
        hit = self.scene.mi_scene.ray_intersect(
            mitsuba.Ray3f(self._point(from_above), mitsuba.Vector3f(0, 0, -1))
        )
        height = np.where(np.array(hit.is_valid()), top - np.array(hit.t), np.nan)
        shape = np.array(drjit.reinterpret_array(mitsuba.UInt32, hit.shape))
        outdoors = np.isin(shape, self.terrain) if self.terrain else height < 0.3
        return np.where(outdoors, height, np.nan)

    def drop(self, rng, count, centre, near, far, height, sector=None):
        """count points outdoors, a metre from any wall, uniform over a ring or a sector (middle, half
        width)."""
        found = np.zeros((0, 3))
        for _ in range(60):
            n = 8 * count + 64
            radius = np.sqrt(rng.uniform(near**2, far**2, n))
            middle, half = sector or (0.0, np.pi)
            angle = middle + rng.uniform(-half, half, n)
            xy = np.asarray(centre) + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
            xy = xy[((xy > self.low[:2] + 5) & (xy < self.high[:2] - 5)).all(1)]
            if len(xy):
                z = self.ground(xy)
                for side in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                    z = np.where(np.isnan(self.ground(xy + side)), np.nan, z)
                free = ~np.isnan(z)
                found = np.concatenate([found, np.column_stack([xy, z + height])[free]])
            if len(found) >= count:
                break
        return found[:count]

    def seen(self, mast, users):
        """Share of the users in sight of the mast."""
        if not len(users):
            return 0.0
        ray = mitsuba.Ray3f(
            self._point(np.broadcast_to(mast, users.shape)), mitsuba.Vector3f(self._point(users - mast))
        )
        ray.maxt = mitsuba.Float(0.999)
        return 1 - float(np.mean(np.array(self.scene.mi_scene.ray_test(ray))))

    def masts(self, rng):
        """One mast a height, in sight of a fifth of the street around it, far from the others."""
        centre = (self.low[:2] + self.high[:2]) / 2
        reach = 0.3 * min(self.high[:2] - self.low[:2])
        chosen = []
        for height in HEIGHTS:
            best, far = None, -1.0
            for place in self.drop(rng, 16, centre, 0, reach, height):
                if self.seen(place, self.drop(rng, 200, place[:2], 10, 150, 1.5)) < 0.2:
                    continue
                apart = min([np.hypot(*(place - c)[:2]) for c in chosen], default=1e9)
                if apart > far:
                    best, far = place, apart
            if best is not None:
                chosen.append(best)
        return np.array(chosen)

    def trace(self, mast, turn, users, yaw, frequencies, seed):
        """Frequency responses (users, rx antennas, tx antennas, frequencies), delays from the first path."""
        for name in [*self.scene.transmitters, *self.scene.receivers]:
            self.scene.remove(name)
        self.scene.add(rt.Transmitter("mast", position=mast.tolist(), orientation=turn))
        for i, (place, angle) in enumerate(zip(users, yaw)):
            self.scene.add(
                rt.Receiver(f"user{i}", position=place.tolist(), orientation=[float(angle), 0.0, 0.0])
            )
        paths = self.solver(self.scene, seed=seed, **SOLVER)
        h = paths.cfr(frequencies=frequencies, normalize=False, normalize_delays=True, out_type="numpy")
        return np.asarray(h)[:, :, 0, :, 0, :]


def array(rows, columns, pattern):
    return rt.PlanarArray(
        num_rows=rows,
        num_cols=columns,
        vertical_spacing=0.5,
        horizontal_spacing=0.5,
        pattern=pattern,
        polarization="V",
    )


def save(path, h, mast, weakest_db, keep, rng):
    """Drops weak links, draws `keep` of the others, each to unit mean power, as pairs of float16."""
    axes = tuple(range(1, h.ndim))
    power = np.mean(np.abs(h.astype(complex)) ** 2, axes)
    good = np.flatnonzero(power > 10 ** (weakest_db / 10))
    good = rng.permutation(good)[:keep]
    unit = h[good] / np.sqrt(power[good]).reshape(-1, *[1] * len(axes))
    pairs = np.stack([unit.real, unit.imag], -1).astype(np.float16)
    np.savez_compressed(path, h=pairs, mast=mast[good].astype(np.int8))
    print(f"{path.name}: {len(good)} of {len(h)} links, {path.stat().st_size / 1e3:.0f} kB", flush=True)


def run(city, rng, masts, keep, drops, batch, mimo):
    h, mast = [], []
    for i, place in enumerate(masts):
        yaw, turn, sector = 0.0, [0.0, 0.0, 0.0], None
        if mimo:
            yaw = float(rng.uniform(-np.pi, np.pi))
            turn, sector = [yaw, float(np.deg2rad(8.0)), 0.0], (yaw, np.pi / 3)
        users = city.drop(rng, drops, place[:2], 10, 200 if mimo else 300, 1.5, sector)
        for part in np.array_split(users, max(1, len(users) // batch)):
            if len(part):
                turns = rng.uniform(-np.pi, np.pi, len(part)) if mimo else np.zeros(len(part))
                grid = np.zeros(1) if mimo else (np.arange(64) - 32) * 312.5e3
                h.append(city.trace(place, turn, part, turns, grid, 1 + i))
                mast += [i] * len(part)
        print(f"mast {i}: {len(users)} users", flush=True)
    h = np.concatenate(h)
    return (h[..., 0] if mimo else h[:, 0, 0]), np.array(mast)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("city", help="a scene that Sionna RT brings along: florence, san_francisco")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--siso", type=int, default=500, help="links kept in the SISO file (500)")
    parser.add_argument("--mimo", type=int, default=130, help="links kept in the MIMO file (130)")
    parser.add_argument("--batch", type=int, default=60, help="users traced at a time (60)")
    args = parser.parse_args()
    rng = np.random.default_rng(zlib.crc32(args.city.encode()) + 1)
    city = City(args.city)
    masts = city.masts(rng)
    city.scene.frequency = 2.4e9
    city.scene.tx_array = city.scene.rx_array = array(1, 1, "iso")
    h, mast = run(city, rng, masts, args.siso, args.siso // 3, args.batch, False)
    save(args.folder / f"siso_{args.city}.npz", h, mast, -140, args.siso, rng)
    city.scene.frequency = 28e9
    city.scene.tx_array, city.scene.rx_array = array(8, 8, "tr38901"), array(4, 4, "iso")
    h, mast = run(city, rng, masts, args.mimo, args.mimo // 2, args.batch, True)
    save(args.folder / f"mimo_{args.city}.npz", h, mast, -150, args.mimo, rng)


if __name__ == "__main__":
    main()
