"""What the networks are made of where images are channels-last: shape of a sample, optimizer."""

SHAPES = {
    "gru": ((64, 64), "adam"),
    "lstm": ((64, 64), "adam"),
    "mlp": ((28, 28, 1), "adam"),
    "mobilenet-v2": ((224, 224, 3), "sgd"),
    "resnet18-32": ((32, 32, 3), "sgd"),
    "seed-cnn": ((28, 28, 1), "adam"),
    "text-transformer": ((64, 128), "adam"),
}

# Stages of MobileNetV2: expansion, outputs, repeats, stride of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
