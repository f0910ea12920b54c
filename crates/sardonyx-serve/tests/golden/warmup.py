"""Writes warmup.tfrecord: what TensorFlow Serving reads to warm a model up.

The records are written by TensorFlow; the messages around its tensors (PredictionLog, PredictLog,
PredictRequest, ModelSpec of tensorflow_serving/apis) by hand, since no package has them all.
"""

import pathlib

import numpy as np
import tensorflow as tf


def field(number, data):
    length, size = b"", len(data)
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([number << 3 | 2]) + length + data


def predict(values):
    tensor = tf.make_tensor_proto(np.array(values, np.float32)).SerializeToString()
    spec = field(1, field(1, b"double"))
    inputs = field(2, field(1, b"x") + field(2, tensor))
    return field(6, field(1, spec + inputs))


path = pathlib.Path(__file__).with_name("warmup.tfrecord")
with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(predict([[1, 2]]))
    writer.write(predict([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]))
