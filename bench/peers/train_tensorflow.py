"""Training steps in TensorFlow: train_tensorflow.py NETWORK graph|xla"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf
from timing import answer, arguments, measure
from train_shapes import SHAPES, STAGES

L = tf.keras.layers


def plain(shape: tuple[int, ...], *layers: L.Layer) -> tf.keras.Model:
    return tf.keras.Sequential([L.Input(shape), *layers])


def seed_cnn() -> tf.keras.Model:
    return plain(
        (28, 28, 1), L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(), L.Conv2D(64, 3, activation="relu"),
        L.MaxPooling2D(), L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10),
    )  # fmt: skip


def mlp() -> tf.keras.Model:
    layers = [L.Dense(512, activation="relu"), L.Dense(512, activation="relu"), L.Dense(10)]
    return plain((28, 28, 1), L.Flatten(), *layers)


def conv(x, outputs: int, kernel: int, stride: int = 1, activation: L.Layer | None = None, depthwise: bool = False):
    if depthwise:
        x = L.DepthwiseConv2D(kernel, stride, "same", use_bias=False)(x)
    else:
        x = L.Conv2D(outputs, kernel, stride, "same", use_bias=False)(x)
    x = L.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return activation(x) if activation else x


def resnet18_32() -> tf.keras.Model:
    start = L.Input((32, 32, 3))
    x, width = conv(start, 64, 3, 1, L.ReLU()), 64
    for outputs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        shortcut = x if stride == 1 and width == outputs else conv(x, outputs, 1, stride)
        x = L.ReLU()(conv(conv(x, outputs, 3, stride, L.ReLU()), outputs, 3) + shortcut)
        width = outputs
    return tf.keras.Model(start, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def mobilenet_v2() -> tf.keras.Model:
    start = L.Input((224, 224, 3))
    x, width = conv(start, 32, 3, 2, L.ReLU(6.0)), 32
    for expansion, outputs, repeats, stage_stride in STAGES:
        for index in range(repeats):
            stride = stage_stride if index == 0 else 1
            y = conv(x, width * expansion, 1, 1, L.ReLU(6.0)) if expansion != 1 else x
            y = conv(conv(y, 0, 3, stride, L.ReLU(6.0), depthwise=True), outputs, 1)
            x = x + y if stride == 1 and width == outputs else y
            width = outputs
    x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(conv(x, 1280, 1, 1, L.ReLU(6.0))))
    return tf.keras.Model(start, L.Dense(1000)(x))


def transformer() -> tf.keras.Model:
    start = x = L.Input((64, 128))
    for _ in range(4):
        x = L.LayerNormalization(epsilon=1e-5)(x + L.MultiHeadAttention(4, 32)(x, x))
        x = L.LayerNormalization(epsilon=1e-5)(x + L.Dense(128)(L.Dense(512, activation="relu")(x)))
    return tf.keras.Model(start, L.Dense(10)(L.GlobalAveragePooling1D()(x)))


NETWORKS = {
    "gru": lambda: plain((64, 64), L.GRU(128), L.Dense(10)),
    "lstm": lambda: plain((64, 64), L.LSTM(128), L.Dense(10)),
    "mlp": mlp,
    "mobilenet-v2": mobilenet_v2,
    "resnet18-32": resnet18_32,
    "seed-cnn": seed_cnn,
    "text-transformer": transformer,
}


def main() -> None:
    args = arguments("network", "mode")
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.random.set_seed(0)
    model = NETWORKS[args.network]()
    optimizer = tf.keras.optimizers.Adam(1e-3)
    if SHAPES[args.network][1] == "sgd":
        optimizer = tf.keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(model.trainable_variables)
    entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x = tf.random.normal((args.batch, *SHAPES[args.network][0]))
    y = tf.random.uniform((args.batch,), 0, 10, tf.int32)

    @tf.function(jit_compile=args.mode == "xla")
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = entropy(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    times = measure(lambda: step(x, y).numpy(), args.seconds)
    parameters = sum(int(tf.size(variable)) for variable in model.trainable_variables)
    answer(**times, parameters=parameters, version=tf.__version__)


if __name__ == "__main__":
    main()
