"""Writes schedules.json: PyTorch's learning rates for the cases of tests/schedules.rs.

Run: python schedules.py > schedules.json   (made with torch 2.15)

Each case holds the settings in our names, the run's length, and the rate of every step.
"""
import json
import sys
import warnings

import torch
from torch.optim import lr_scheduler as s

warnings.simplefilter("ignore")
LR0 = 0.1


def optimizer(lr=LR0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(make, steps, every=1):
    """The rate at each of `steps` steps of a scheduler that steps once per `every` steps."""
    opt = optimizer()
    scheduler = make(opt)
    out = []
    for step in range(steps):
        out.append(opt.param_groups[0]["lr"])
        opt.step()
        if (step + 1) % every == 0:
            scheduler.step()
    return out


def warm(opt, warmup, after):
    up = s.LinearLR(opt, start_factor=1 / warmup, total_iters=warmup - 1)
    return s.SequentialLR(opt, [up, after], milestones=[warmup])


def restarts(per_epoch, epochs, **options):
    opt = optimizer()
    scheduler = s.CosineAnnealingWarmRestarts(opt, **options)
    out = []
    for epoch in range(epochs):
        for i in range(per_epoch):
            scheduler.step(epoch + i / per_epoch)
            out.append(opt.param_groups[0]["lr"])
    return out


def plateau(metric, values, **options):
    opt = optimizer()
    mode = "min" if metric == "val.loss" else "max"
    scheduler = s.ReduceLROnPlateau(
        opt,
        mode=mode,
        factor=options["factor"],
        patience=options["patience"],
        threshold=options["threshold"],
        cooldown=options["cooldown"],
        min_lr=options["floor"],
    )
    out = []
    for value in values:
        scheduler.step(value)
        out.append(opt.param_groups[0]["lr"])
    settings = {"name": "plateau", "metric": metric, **options}
    return {"settings": settings, "values": values, "lr": out}


def main():
    cases = []

    def case(settings, per_epoch, epochs, lr):
        cases.append(
            {"settings": settings, "steps_per_epoch": per_epoch, "epochs": epochs, "lr": lr}
        )

    for rate, every in [(0.5, 2), (0.1, 3), (0.9, 1)]:
        lr = rates(lambda o: s.StepLR(o, every, rate), 24, 3)
        case({"name": "step", "rate": rate, "every": every}, 3, 8, lr)
    lr = rates(lambda o: s.ExponentialLR(o, 0.8), 18, 3)
    case({"name": "exponential", "rate": 0.8}, 3, 6, lr)
    lr = rates(lambda o: s.MultiStepLR(o, [2, 3, 6], 0.2), 24, 3)
    factors = [0.2, 0.2**2, 0.2**3]
    case({"name": "piecewise", "milestones": [2, 3, 6], "factors": factors}, 3, 8, lr)
    for floor in (0.0, 0.003):
        lr = rates(lambda o: s.CosineAnnealingLR(o, 30, eta_min=floor), 30)
        case({"name": "cosine", "floor": floor}, 5, 6, lr)
    for warmup in (2, 7):
        lr = rates(lambda o: warm(o, warmup, s.CosineAnnealingLR(o, 30 - warmup)), 30)
        case({"name": "cosine", "warmup_steps": warmup}, 5, 6, lr)
    lr = rates(lambda o: s.LinearLR(o, 1.0, 0.05, 40), 40)
    case({"name": "linear", "floor": 0.005}, 4, 10, lr)
    lr = rates(lambda o: warm(o, 8, s.LinearLR(o, 1.0, 0.25, 32)), 40)
    case({"name": "linear", "floor": 0.025, "warmup_epochs": 2}, 4, 10, lr)
    for power in (0.5, 1.0, 2.0):
        lr = rates(lambda o: s.PolynomialLR(o, 20, power), 20)
        case({"name": "polynomial", "power": power}, 5, 4, lr)
    for options in (
        {},
        {"rise": 0.5, "linear": True},
        {"rise": 0.1, "start_divisor": 10.0, "end_divisor": 100.0},
    ):
        lr = rates(
            lambda o: s.OneCycleLR(
                o,
                max_lr=LR0,
                total_steps=40,
                pct_start=options.get("rise", 0.3),
                div_factor=options.get("start_divisor", 25.0),
                final_div_factor=options.get("end_divisor", 1e4),
                anneal_strategy="linear" if options.get("linear") else "cos",
            ),
            40,
        )
        case({"name": "one_cycle", **options}, 8, 5, lr)
    for period, multiplier, floor in [(3, 1, 0.0), (2, 2, 0.001), (1, 3, 0.0)]:
        lr = restarts(4, 12, T_0=period, T_mult=multiplier, eta_min=floor)
        settings = {"period": period, "multiplier": multiplier, "floor": floor}
        case({"name": "cosine_restarts", **settings}, 4, 12, lr)
    falling = [1.0, 0.9, 0.91, 0.92, 0.89, 0.89, 0.89, 0.89, 0.89, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6]
    rising = [0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.31, 0.3]
    plateaus = [
        plateau("val.loss", falling, factor=0.5, patience=1, threshold=1e-4, cooldown=0, floor=0.0),
        plateau("val.loss", falling, factor=0.1, patience=0, threshold=0.1, cooldown=2, floor=1e-3),
        plateau("val.accuracy", rising, factor=0.3, patience=2, threshold=1e-4, cooldown=1, floor=0.0),
    ]
    json.dump({"lr0": LR0, "cases": cases, "plateaus": plateaus}, sys.stdout)
    print()


main()
