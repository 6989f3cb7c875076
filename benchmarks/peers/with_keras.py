"""Keras 3 on TensorFlow, its usual backend and here the fastest of the three: compile and fit.

Own recipe: https://keras.io/examples/vision/mnist_convnet/, its network, batch 128, Adam.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import protocol
from keras import layers

chosen = protocol.options()
if keras.backend.backend() == "tensorflow":
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(chosen.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(chosen.threads)
keras.utils.set_random_seed(chosen.seed)
data = protocol.fashion(chosen.split)


def normalised(pixels: np.ndarray) -> np.ndarray:
    scaled = pixels[..., None].astype("float32") / 255
    return scaled if chosen.table == "own" else (scaled - protocol.MEAN) / protocol.STD


def small() -> keras.Model:
    """The twin of ``networks.small``: the same layers, the same initial spread of the weights."""
    start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    model = keras.Sequential([layers.Input((28, 28, 1))])
    for i, width in enumerate((32, 64, 128)):
        model.add(layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer=start))
        model.add(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D() if i < 2 else layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, kernel_initializer=start))
    return model


def example() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        fraction = keras.ops.cast(step, "float32") / steps
        up, down = (fraction + 1e-3) / protocol.WARM, (1 - fraction) / (1 - protocol.WARM)
        return chosen.rate * keras.ops.minimum(keras.ops.minimum(up, down), 1.0)


class Ticks(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None) -> None:
        clock.tick()


images, labels = normalised(data.train), data.train_label.astype("int32")
test, test_labels = normalised(data.test), data.test_label
an_epoch = len(images) // chosen.batch
steps = an_epoch * chosen.epochs
kept = an_epoch * chosen.batch  # whole batches only, as the others
model = small() if chosen.table == "same" else example()
optimizer = keras.optimizers.Adam(
    OneCycle() if chosen.table == "same" else 1e-3, epsilon=1e-8 if chosen.table == "same" else 1e-7
)
model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def accuracy() -> float:
    logits = [model(test[i : i + 500], training=False) for i in range(0, len(test), 500)]
    guesses = np.concatenate([keras.ops.convert_to_numpy(some).argmax(1) for some in logits])
    return (guesses == test_labels).mean()


clock = protocol.Clock(chosen, an_epoch, accuracy)
protocol.train(
    clock,
    lambda: model.fit(
        images[:kept], labels[:kept], batch_size=chosen.batch, epochs=chosen.epochs, verbose=0, callbacks=[Ticks()]
    ),
)
