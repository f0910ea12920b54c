"""Makes optimizers.txt: parameters after a few steps of every optimizer of PyTorch and Keras.

Run with PyTorch for the names that begin with `torch`, with Keras for the others, and join the
two outputs:  python optimizers.py torch > optimizers.txt; python optimizers.py keras >> ...
Parameters and gradients are fractions that float32 holds exactly; the test makes the same ones.
"""

import sys

import numpy as np

LEN, STEPS = 37, 6


def parameters():
    return np.array([((i * 37) % 101 - 50) / 64 for i in range(LEN)], np.float32)


def gradients(step):
    return np.array([((i * 53 + step * 29) % 97 - 48) / 128 for i in range(LEN)], np.float32)


def show(name, values):
    print(name, *(repr(float(value)) for value in values))


def with_torch():
    import torch
    from torch import optim

    runs = {
        "sgd": lambda p: optim.SGD(p, 0.1),
        "sgd_decay": lambda p: optim.SGD(p, 0.1, weight_decay=0.05),
        "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.25, weight_decay=0.05),
        "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.05),
        "amsgrad": lambda p: optim.Adam(p, 0.01, amsgrad=True, betas=(0.8, 0.5)),
        "adamw": lambda p: optim.AdamW(p, 0.01, weight_decay=0.05),
        "adagrad": lambda p: optim.Adagrad(p, 0.1, lr_decay=0.1),
        "rmsprop": lambda p: optim.RMSprop(p, 0.01, alpha=0.9),
        "rmsprop_full": lambda p: optim.RMSprop(p, 0.01, alpha=0.9, momentum=0.5, centered=True),
        "rmsprop_centred": lambda p: optim.RMSprop(p, 0.01, alpha=0.9, centered=True),
        "rmsprop_momentum": lambda p: optim.RMSprop(p, 0.01, alpha=0.9, momentum=0.5),
        "adadelta": lambda p: optim.Adadelta(p, 1.0, rho=0.9),
        "adamax": lambda p: optim.Adamax(p, 0.01),
        "nadam": lambda p: optim.NAdam(p, 0.01),
    }
    for name, make in runs.items():
        p = torch.nn.Parameter(torch.from_numpy(parameters()))
        optimizer = make([p])
        for step in range(1, STEPS + 1):
            p.grad = torch.from_numpy(gradients(step))
            optimizer.step()
        show("torch_" + name, p.detach().numpy())


def with_keras():
    import keras
    from keras import optimizers as k

    runs = {
        "momentum": k.SGD(0.1, momentum=0.9),
        "nesterov": k.SGD(0.1, momentum=0.9, nesterov=True),
        "adam": k.Adam(0.01, epsilon=1e-3),
        "amsgrad": k.Adam(0.01, epsilon=1e-3, amsgrad=True, beta_2=0.5),
        "adamw": k.AdamW(0.01, epsilon=1e-3, weight_decay=0.05),
        "adagrad": k.Adagrad(0.1, initial_accumulator_value=0.1, epsilon=1e-3),
        "rmsprop": k.RMSprop(0.01, rho=0.9, epsilon=1e-3),
        "rmsprop_full": k.RMSprop(0.01, rho=0.9, epsilon=1e-3, momentum=0.5, centered=True),
        "adadelta": k.Adadelta(1.0, rho=0.9, epsilon=1e-6),
        "adamax": k.Adamax(0.01, epsilon=1e-3),
        "lion": k.Lion(0.01, beta_1=0.9, beta_2=0.99, weight_decay=0.05),
    }
    for name, optimizer in runs.items():
        p = keras.Variable(parameters())
        optimizer.build([p])
        for step in range(1, STEPS + 1):
            optimizer.apply([keras.ops.convert_to_tensor(gradients(step))], [p])
        show("keras_" + name, keras.ops.convert_to_numpy(p))


{"torch": with_torch, "keras": with_keras}[sys.argv[1]]()
