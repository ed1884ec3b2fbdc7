# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the constellation shaper: a denoiser of shaped symbols whose pmf follows the SNR and the hardware.

The model is a posterior-type diffusion model of one constellation symbol: at noise level v its logits are
-|y - c|^2 / v plus what the network says of c, given SNR and hardware. In Gaussian noise that is the whole
truth about the score of a shaped constellation, so the network learns exactly the prior, and the reverse
process from pure noise generates symbols of that pmf. The pmf is trained on one explicit objective, the
mutual information over the true link, for all link states at once.

example:
    gr-diffusion train shaper --constellation qam64 --seed 1 --output models
"""
import math
import time
from pathlib import Path

CONSTELLATIONS = {"qam16": 4, "qam64": 6, "qam256": 8}
SNR_DB = (-5.0, 25.0)
HARDWARE_SNR_DB = (8.0, 25.0)
PHASE_NOISE_DEG = (0.0, 6.0)
ADC_BITS = (3, 4, 5, 6)
BATCH_HARDWARE = 6
SPLIT = 1.3  # drive between the two maxima


def add_arguments(parser):
    parser.add_argument("--constellation", choices=CONSTELLATIONS, default="qam64")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of everything random (1)")
    parser.add_argument("--steps", type=int, default=3000, help="gradient steps (3000)")
    parser.add_argument("--hidden", type=int, default=64, help="width of the conditioner (64)")
    parser.add_argument("--hardware", choices=("auto", "yes", "no"), default="auto",
                        help="train through PA, phase noise and ADC too (auto: qam64 only)")
    parser.add_argument("--output", type=Path, default=Path("models"), metavar="DIR", help="(models)")


def condition(snr_db, phase_noise_deg=None, adc_bits=None):
    """The condition vector [SNR in dB, PA in the link, phase noise in degrees, 2^-bits]; without hardware
    the last three are 0."""
    if adc_bits is None:
        return [snr_db, 0.0, 0.0, 0.0]
    return [snr_db, 1.0, phase_noise_deg, 2.0 ** -adc_bits]


def build(points, hidden, hardware):
    """(FilmMlp over classes, heads for hardware or None)."""
    import torch
    from ..square_grid import orbits
    from ..nn.film_mlp import FilmMlp

    normalisation = {"input_scale": "none",
                     "condition_mean": [10.0, 0.5, 3.0, 0.06][:4 if hardware else 1],
                     "condition_scale": [10.0, 0.5, 3.0, 0.06][:4 if hardware else 1]}
    classes = int(orbits(points)[1].size)
    net = FilmMlp([], classes, features="iq", condition={
        "kind": "mlp", "inputs": 4 if hardware else 1, "hidden": hidden}, skip="gaussian",
        normalisation=normalisation).double()
    # Nothing but the likelihood may depend on the sample: see the module's first lines.
    net.layers[0].requires_grad_(False)
    if not hardware:
        return net, None
    heads = torch.nn.ModuleDict({"drive": torch.nn.Linear(hidden, 1),
                                 "second": torch.nn.Linear(hidden, classes + 2)})
    for head in heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    with torch.no_grad():
        heads["second"].bias[classes] = math.log(1.7)
    return net, heads.double()


def log_prior(net, c):
    """(B, K) logits of the classes' members for conditions (B, n_c)."""
    return net.film(c)[0][1][:, 0]


def operating_points(net, heads, c):
    """Both of the model's answers for links with hardware: [(logits (B, K), log drive (B,))] * 2, and
    preference (B,): above 0 the second answer is expected to carry more."""
    h = net.act(net.conditioner[0]((c - net.c_mean) / net.c_scale))
    second = heads["second"](h)
    return ([(log_prior(net, c), heads["drive"](h)[:, 0]), (second[:, :-2], second[:, -2])], second[:, -1])


def drive_table(bits_per_symbol):
    """(conditions (n, 4), log drives (n, 2)): the best drives below and above SPLIT with a 3-bit ADC, by
    Blahut-Arimoto. There the rate has two maxima over the drive; which one is higher jumps with the link."""
    import numpy as np
    import torch
    from ..baselines.shaper_impaired import ImpairedLink
    from ..cli.common import progress

    rows = [(snr, phase, 3) for phase in (0.0, 3.0, 6.0)
            for snr in np.arange(HARDWARE_SNR_DB[0], HARDWARE_SNR_DB[1] + 1)]
    best = lambda r, drives: ImpairedLink(*r, bits_per_symbol=bits_per_symbol).best(
        mirrored=True, tolerance=5e-3, grid_tolerance=5e-3, drives=drives)[2]
    drives = [[best(r, (0.3, SPLIT)), best(r, (SPLIT, 2.5))] for r in progress(rows, desc="drives")]
    return torch.tensor([condition(*r) for r in rows], dtype=torch.double), torch.tensor(drives).log()


def train(points, steps, hidden, hardware, seed, report=print):
    """(net, heads) trained; report(text) now and then."""
    import torch
    from ..cli.common import progress
    from ..nn.shaping import AwgnObjective, ImpairedObjective

    torch.manual_seed(seed)
    net, heads = build(points, hidden, hardware)
    awgn = AwgnObjective(points)
    impaired = ImpairedObjective(points) if hardware else None
    table = drive_table(int(math.log2(points.size))) if hardware else None
    parameters = [p for p in net.parameters() if p.requires_grad] + (list(heads.parameters()) if heads
                                                                     else [])
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: 0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * i / steps)))
    draw = lambda lo, hi, n: lo + (hi - lo) * (torch.arange(n) + torch.rand(n)) / n  # stratified
    start = time.perf_counter()
    for i in progress(range(steps), desc="shaper"):
        snr = draw(SNR_DB[0] - 0.5, SNR_DB[1] + 0.5, 32).double()
        c = torch.zeros(32, 4 if hardware else 1, dtype=torch.double)
        c[:, 0] = snr
        loss = -awgn(log_prior(net, c), snr).mean()
        if hardware:
            snr = draw(HARDWARE_SNR_DB[0] - 0.5, HARDWARE_SNR_DB[1] + 0.5, BATCH_HARDWARE)
            phase = draw(*PHASE_NOISE_DEG, BATCH_HARDWARE)[torch.randperm(BATCH_HARDWARE)]
            bits = ADC_BITS[int(torch.randint(len(ADC_BITS), ()))]
            c = torch.stack([snr, torch.ones_like(snr), phase, torch.full_like(snr, 2.0 ** -bits)],
                            1).double()
            (first, second), preference = operating_points(net, heads, c)
            rates = [impaired(*answer, snr, phase, bits) for answer in (first, second)]
            gap = (rates[1] - rates[0]).detach()
            # Each answer is for the links where it is the better one; the other is not to fall behind for
            # good.
            share = 0.1 + 0.8 * torch.sigmoid(gap / 0.005)
            loss = loss - ((1 - share) * rates[0] + share * rates[1]).mean()
            loss = loss + (gap.abs() * torch.nn.functional.softplus(-gap.sign() * preference)).mean()
            lead = max(0.0, 1 - 2 * i / steps)  # the first half is led to both maxima
            if lead:
                answers = operating_points(net, heads, table[0])[0]
                drives = torch.stack([d for _, d in answers], 1)
                loss = loss + 3 * lead * ((drives - table[1]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (i + 1) % max(1, steps // 5) == 0:
            report(f"step {i + 1}/{steps}  mean information {-loss.item():.5f} bit  "
                   f"{time.perf_counter() - start:.0f} s")
    return net, heads


def measure(net, points):
    """Worst shares of the optimum over AWGN, every 1 dB."""
    import numpy as np
    import torch
    from ..baselines import shaper as baseline
    from ..square_grid import orbits, rail_levels

    m = math.isqrt(points.size)
    levels = rail_levels(m)
    of_optimum, of_gain = [], []
    n_c = net.condition["inputs"]
    for snr in np.arange(SNR_DB[0], SNR_DB[1] + 0.5, 1.0):
        with torch.no_grad():
            logits = log_prior(net, torch.tensor([condition(snr)[:n_c]], dtype=torch.double))[0].numpy()
        pmf = np.exp(logits - logits.max())[orbits(points)[0]]
        mi = baseline.mi_awgn_square(levels, (pmf / pmf.sum()).reshape(m, m), snr)
        best, uniform = baseline.blahut_arimoto_awgn(levels, snr)[0], baseline.mi_uniform(levels, snr)
        of_optimum.append(100 * mi / best)
        if best - uniform > 0.02:
            of_gain.append(100 * (mi - uniform) / (best - uniform))
    return {"awgn_percent_of_optimum_min": round(min(of_optimum), 4),
            "awgn_percent_of_shaping_gain_min": round(min(of_gain), 3)}


def tensors(net, heads, class_of):
    """The weights as the model file has them: one output a symbol, members of a class alike."""
    import torch

    with torch.no_grad():
        weight, bias = (t.float() for t in (net.conditioner[1].weight, net.conditioner[1].bias))
        k, index = weight.shape[0] // 2, torch.as_tensor(class_of)
        zero = torch.zeros_like(weight[index])
        out = {"layers.0.weight": torch.zeros(len(index), 2), "layers.0.bias": torch.zeros(len(index)),
               "conditioner.0.weight": net.conditioner[0].weight,
               "conditioner.0.bias": net.conditioner[0].bias,
               "conditioner.1.weight": torch.cat([zero, weight[k:][index]]),
               "conditioner.1.bias": torch.cat([zero[:, 0], bias[k:][index]])}
        for name, head in (heads or {}).items():
            out.update({f"{name}.weight": head.weight, f"{name}.bias": head.bias})
        return out


CARD = """# ps-{name}: constellation shaper for {label}

**Task** shaper - **network** film_mlp without hidden layers, conditioner {n_c} -> {hidden} -> 2 x {m} (SiLU),
{parameters} numbers in the file, {free} of them free - **seed** {seed}

What it is: a posterior-type diffusion model of one constellation symbol, conditioned on the SNR{also}. At
noise level v its logits are -|y - c|^2 / v + b_c(condition). For symbols in Gaussian noise this is the exact
form of the score, and all there is to learn is the prior b; so the pmf can be read off the model directly
(its posterior at infinite noise) and the reverse process, started from pure noise, generates symbols of that
pmf (`Shaper.generate`, tested). Nobody needs the reverse process to use the pmf: plainly, this is an
amortised solver of the Blahut-Arimoto problem that is also the exact denoiser of what it shapes.
The literature's algorithm, with the same denoiser of an unshaped constellation, returns the uniform pmf but
for sampler error; see docs/shaper.md.

Trained on: no data; the objective is I(X;Y) over the true link itself by quadrature, power normalised,
SNR uniform in [-5.5, 25.5] dB{hardware}. Points that rotations and reflections map to each other share one
probability ({classes} classes).

    {command}

Measured by the trainer at every 1 dB from -5 to 25 dB, AWGN: at least {percent:.3f}% of the Blahut-Arimoto
optimum, at least {gain:.2f}% of the shaping gain where that exceeds 0.02 bit. The finer tables, beside
uniform, Maxwell-Boltzmann and capacity: `./run evaluate shaper`, docs/shaper.md.

Limits: SNR is held to [-5, 25] dB. Pmfs are the same in all eight octants, so IQ imbalance and DC offset are
not shaped for. {limit}
"""


def run(args):
    import torch
    from .. import __version__
    from ..square_grid import orbits, square_qam
    from ..nn.export import save_model

    torch.set_num_threads(1)
    hardware = args.hardware == "yes" or (args.hardware == "auto" and args.constellation == "qam64")
    points = square_qam(CONSTELLATIONS[args.constellation])
    class_of, size = orbits(points)
    net, heads = train(points, args.steps, args.hidden, hardware, args.seed)
    measured = measure(net, points)
    print(measured)
    command = f"./run train shaper --constellation {args.constellation} --seed {args.seed}"
    for option, default in (("steps", 3000), ("hidden", 64), ("hardware", "auto")):
        if getattr(args, option) != default:
            command += f" --{option} {getattr(args, option)}"
    weights = tensors(net, heads, class_of)
    name = f"ps-{args.constellation}"
    network = {**net.config, "outputs": points.size}
    metadata = {
        "name": name, "task": "shaper", "network": network, "prediction_type": "posterior",
        "schedule": {"kind": "continuous"}, "snr_db": SNR_DB,
        "constellation": {"name": args.constellation, "points": [[c.real, c.imag] for c in points]},
        "normalisation": net.normalisation,
        "shaping": {"classes": class_of, "hardware": {
            "snr_db": HARDWARE_SNR_DB, "phase_noise_deg": PHASE_NOISE_DEG,
            "adc_bits": [min(ADC_BITS), max(ADC_BITS)], "answers": 2} if hardware else None},
        "provenance": {"command": command, "seed": args.seed, "data": "none: quadrature of the true link",
                       "version": __version__},
        "measured": measured}
    if not hardware:
        del metadata["shaping"]["hardware"]
    path = args.output / f"{name}.safetensors"
    save_model(path, weights, metadata)
    path.with_suffix(".md").write_text(CARD.format(
        name=args.constellation, label=f"{points.size}-QAM", n_c=net.condition["inputs"], hidden=args.hidden,
        m=points.size, classes=size.size, seed=args.seed, command=command,
        parameters=sum(t.numel() for t in weights.values()),
        free=sum(p.numel() for p in net.parameters() if p.requires_grad) -
        net.conditioner[1].weight.numel() // 2
        - size.size + (sum(p.numel() for p in heads.parameters()) if heads else 0),
        percent=measured["awgn_percent_of_optimum_min"], gain=measured["awgn_percent_of_shaping_gain_min"],
        also=" and on the hardware (PA, phase noise, ADC bits)" if hardware else "",
        hardware=(";\nand the impaired link of docs/shaper.md (Rapp PA with the drive as a second output, "
                  "two answers and a choice between them, "
                  "phase noise 0 to 6 degrees,\n3 to 6 bit ADC, 8 to 25 dB)") if hardware else "",
        limit="Hardware outside the ranges above is refused." if hardware else
        "AWGN only: for a PA, phase noise and few ADC bits use ps-qam64."))
    print(f"wrote {path}")
