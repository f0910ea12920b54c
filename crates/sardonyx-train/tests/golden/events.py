"""Writes events.tfevents with TensorFlow's own writer: the file that the test in
src/run/event_log.rs must write byte for byte.

Run: python events.py   (made with tensorflow 2.21)
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import pathlib

import tensorflow as tf
from tensorflow.core.util import event_pb2

path = pathlib.Path(__file__).with_name("events.tfevents")
Event, SessionLog = event_pb2.Event, event_pb2.SessionLog
Summary = tf.compat.v1.Summary
events = [
    Event(wall_time=1_700_000_000.25, file_version="brain.Event:2"),
    Event(
        wall_time=1_700_000_000.25,
        step=300,
        session_log=SessionLog(status=SessionLog.START),
    ),
    Event(
        wall_time=1_700_000_001.5,
        step=300,
        summary=Summary(
            value=[
                Summary.Value(tag="train/loss", simple_value=0.25),
                Summary.Value(tag="lr", simple_value=1e-3),
            ]
        ),
    ),
    Event(wall_time=1_700_000_002.0, step=2**32, summary=Summary()),
]
with tf.io.TFRecordWriter(str(path)) as writer:
    for event in events:
        writer.write(event.SerializeToString())
# What TensorBoard does with it: read it back, checksums included.
assert list(tf.compat.v1.train.summary_iterator(str(path))) == events
