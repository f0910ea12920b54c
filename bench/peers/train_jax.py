"""Training steps in JAX and Optax: train_jax.py NETWORK

A layer is a function from the maker of parameters to a function of activations, parameters and
statistics; images are channels-last.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from timing import answer, arguments, measure
from train_shapes import SHAPES, STAGES

RANDOM = np.random.RandomState(0)
PARAMETERS: list[jax.Array] = []
STATISTICS: list[tuple[jax.Array, jax.Array]] = []


def parameter(*shape: int, scale: float = 0.05, value: float = 0.0) -> int:
    """The place of a new parameter in the list of all."""
    PARAMETERS.append(jnp.asarray(RANDOM.randn(*shape).astype("f") * scale + value))
    return len(PARAMETERS) - 1


def dense(inputs: int, outputs: int):
    weight, bias = parameter(inputs, outputs), parameter(outputs, scale=0)
    return lambda x, p, s: x @ p[weight] + p[bias]


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding="SAME", bias: bool = False, groups: int = 1):
    weight = parameter(kernel, kernel, inputs // groups, outputs)
    offset = parameter(outputs, scale=0) if bias else None

    def run(x, p, s):
        layout = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(
            x, p[weight], (stride, stride), padding, dimension_numbers=layout, feature_group_count=groups
        )
        return x if offset is None else x + p[offset]

    return run


def batch_norm(width: int):
    scale, shift = parameter(width, scale=0, value=1), parameter(width, scale=0)
    place = len(STATISTICS)
    STATISTICS.append((jnp.zeros(width), jnp.ones(width)))

    def run(x, p, s):
        mean = x.mean((0, 1, 2))
        variance = jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0)
        s[place] = (s[place][0] * 0.9 + mean * 0.1, s[place][1] * 0.9 + variance * 0.1)
        return (x - mean) * lax.rsqrt(variance + 1e-5) * p[scale] + p[shift]

    return run


def layer_norm(width: int):
    scale, shift = parameter(width, scale=0, value=1), parameter(width, scale=0)

    def run(x, p, s):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(variance + 1e-5) * p[scale] + p[shift]

    return run


def relu(x, *_):
    return jnp.maximum(x, 0)


def relu6(x, *_):
    return jnp.clip(x, 0, 6)


def max_pool(x, *_):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def flatten(x, *_):
    return x.reshape(x.shape[0], -1)


def global_average(x, *_):
    return x.mean((1, 2))


def row(*layers):
    def run(x, p, s):
        for layer in layers:
            x = layer(x, p, s)
        return x

    return run


def seed_cnn():
    first, second = conv(1, 32, 3, padding="VALID", bias=True), conv(32, 64, 3, padding="VALID", bias=True)
    return row(first, relu, max_pool, second, relu, max_pool, flatten, dense(1600, 128), relu, dense(128, 10))


def mlp():
    return row(flatten, dense(784, 512), relu, dense(512, 512), relu, dense(512, 10))


def residual(inputs: int, outputs: int, stride: int):
    body = row(conv(inputs, outputs, 3, stride), batch_norm(outputs), relu, conv(outputs, outputs, 3), batch_norm(outputs))
    if stride == 1 and inputs == outputs:
        return lambda x, p, s: relu(body(x, p, s) + x)
    shortcut = row(conv(inputs, outputs, 1, stride), batch_norm(outputs))
    return lambda x, p, s: relu(body(x, p, s) + shortcut(x, p, s))


def resnet18_32():
    layers, width = [conv(3, 64, 3), batch_norm(64), relu], 64
    for outputs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(residual(width, outputs, stride))
        width = outputs
    return row(*layers, global_average, dense(512, 10))


def inverted(inputs: int, outputs: int, stride: int, expansion: int):
    hidden = inputs * expansion
    expand = [conv(inputs, hidden, 1), batch_norm(hidden), relu6] if expansion != 1 else []
    depthwise = [conv(hidden, hidden, 3, stride, groups=hidden), batch_norm(hidden), relu6]
    body = row(*expand, *depthwise, conv(hidden, outputs, 1), batch_norm(outputs))
    return (lambda x, p, s: x + body(x, p, s)) if stride == 1 and inputs == outputs else body


def mobilenet_v2():
    layers, width = [conv(3, 32, 3, 2), batch_norm(32), relu6], 32
    for expansion, outputs, repeats, stride in STAGES:
        for index in range(repeats):
            layers.append(inverted(width, outputs, stride if index == 0 else 1, expansion))
            width = outputs
    # The dropout before the last layer is left out: it is 1,280 numbers a sample.
    return row(*layers, conv(width, 1280, 1), batch_norm(1280), relu6, global_average, dense(1280, 1000))


def encoder():
    inwards, outwards, up, down = dense(128, 384), dense(128, 128), dense(128, 512), dense(512, 128)
    norms = layer_norm(128), layer_norm(128)

    def run(x, p, s):
        batch, steps, width = x.shape
        q, k, v = inwards(x, p, s).reshape(batch, steps, 3, 4, 32).transpose(2, 0, 3, 1, 4)
        y = jax.nn.softmax(q @ k.swapaxes(-1, -2) / 32**0.5) @ v
        x = norms[0](x + outwards(y.transpose(0, 2, 1, 3).reshape(batch, steps, width), p, s), p, s)
        return norms[1](x + down(relu(up(x, p, s)), p, s), p, s)

    return run


def transformer():
    return row(*[encoder() for _ in range(4)], lambda x, *_: x.mean(1), dense(128, 10))


def recurrent(n_gates: int, n_states: int, cell):
    """`cell` takes the states, the gates' inputs from outside and the last state's product."""
    inwards, across = parameter(64, 128 * n_gates), parameter(128, 128 * n_gates)
    biases = parameter(128 * n_gates, scale=0), parameter(128 * n_gates, scale=0)
    head = dense(128, 10)

    def run(x, p, s):
        gates = (x @ p[inwards] + p[biases[0]]).swapaxes(0, 1)
        zeros = (jnp.zeros((x.shape[0], 128)),) * n_states
        step = lambda states, gate: (cell(states, gate, states[0] @ p[across] + p[biases[1]]), None)
        states, _ = lax.scan(step, zeros, gates)
        return head(states[0], p, s)

    return run


def lstm_cell(states, gates, product):
    i, f, g, o = jnp.split(gates + product, 4, -1)
    c = jax.nn.sigmoid(f) * states[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru_cell(states, gates, product):
    (ir, iz, i), (hr, hz, h) = jnp.split(gates, 3, -1), jnp.split(product, 3, -1)
    r, z = jax.nn.sigmoid(ir + hr), jax.nn.sigmoid(iz + hz)
    return ((1 - z) * jnp.tanh(i + r * h) + z * states[0],)


NETWORKS = {
    "gru": lambda: recurrent(3, 1, gru_cell),
    "lstm": lambda: recurrent(4, 2, lstm_cell),
    "mlp": mlp,
    "mobilenet-v2": mobilenet_v2,
    "resnet18-32": resnet18_32,
    "seed-cnn": seed_cnn,
    "text-transformer": transformer,
}


def main() -> None:
    args = arguments("network", "mode")
    shape, optimizer_name = SHAPES[args.network]
    network = NETWORKS[args.network]()
    optimizer = optax.adam(1e-3) if optimizer_name == "adam" else optax.sgd(1e-3, momentum=0.9)
    x = jnp.asarray(RANDOM.randn(args.batch, *shape).astype("f"))
    y = jnp.asarray(RANDOM.randint(0, 10, args.batch))

    def loss(parameters, statistics, x, y):
        statistics = list(statistics)
        scores = network(x, parameters, statistics)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean(), statistics

    def step(parameters, statistics, state, x, y):
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, statistics), gradients = gradient(parameters, statistics, x, y)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, updates), statistics, state, value

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    n_parameters = sum(parameter.size for parameter in PARAMETERS)
    carried = [PARAMETERS, STATISTICS, optimizer.init(PARAMETERS)]

    def run() -> float:
        *carried[:], value = compiled(*carried, x, y)
        return float(value)

    answer(**measure(run, args.seconds), parameters=n_parameters, version=jax.__version__)


if __name__ == "__main__":
    main()
