# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A faster model for a phone
#
# Zeros at single places make a file smaller, but no model faster: a processor
# multiplies by zero as it does by any number. A model that has lost whole
# *channels* is faster everywhere. In this notebook you prune a small
# convolutional network in both ways, remove its channels for good with
# `shrink`, write files for TFLite in float32 and int8, and measure their size,
# speed and accuracy.
#
# You need a checkout of the repository, and in it
# `pip install '.[data,report]'`. Nothing is downloaded. The whole notebook
# takes about a minute. Channels are pruned in models of tf_keras (Keras 2),
# which comes with tf_unilth.

# %%
import logging
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import tf_keras as keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow import lite

import tf_unilth

# TensorFlow logs how often it compiles, and that its interpreter for TFLite
# will move to another package.
logging.getLogger('tensorflow').setLevel('ERROR')
warnings.filterwarnings('ignore', '(?s).*tf.lite.Interpreter is deprecated')

SEED = 0
keras.utils.set_random_seed(SEED)
BLUE, RED, GREY = '#0072B2', '#D55E00', '#666666'
plt.rcParams |= {
  'axes.spines.top': False,
  'axes.spines.right': False,
  'legend.frameon': False,
}

# %% [markdown]
# ## A dense network
#
# The data are scikit-learn's images of digits. The network has three
# convolutions and two Dense layers. It is the model that we want to be faster.

# %%
images, labels = load_digits(return_X_y=True)
images = (images / images.max()).reshape(-1, 8, 8, 1).astype('float32')
x, x_test, y, y_test = train_test_split(
  images, labels, test_size=400, random_state=SEED, stratify=labels
)
print(f'{len(x):,} training and {len(x_test)} test images of 8x8 pixels')


def build():
  layers = keras.layers
  options = {'padding': 'same', 'activation': 'relu'}
  return keras.Sequential([
    layers.Input((8, 8, 1)),
    layers.Conv2D(48, 3, name='first', **options),
    layers.Conv2D(48, 3, name='second', **options),
    layers.MaxPooling2D(),
    layers.Conv2D(96, 3, name='third', **options),
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dense(128, activation='relu', name='hidden'),
    layers.Dense(10, name='head'),
  ])


def fit(model, callbacks=()):
  keras.utils.set_random_seed(SEED)
  model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
  )
  model.fit(x, y, epochs=10, verbose=0, callbacks=list(callbacks))


dense = build()
fit(dense)
print(f'{dense.count_params():,} parameters')

# %% [markdown]
# ## Single zeros
#
# First the usual way: from the trained network, 90% of the weights are set to
# zero, wherever they are ([prune a trained model](pretrained.ipynb)).


# %%
def copy_of(model):
  copied = build()
  copied.set_weights(model.get_weights())
  return copied


zeros = tf_unilth.prune_low_magnitude(
  copy_of(dense), tf_unilth.IterativeSparsity(0.9)
)
fit(zeros, [tf_unilth.UniLTH(pretrained=True)])
zeros = tf_unilth.strip_pruning(zeros)

# %% [markdown]
# ## Whole channels
#
# With `structure='channels'` a channel is removed from all layers that make it
# or read it. The target is a share of the *FLOPs*, the operations of a forward
# pass, by `of='flops'`: 75% of them go, a quarter is left.

# %%
channels = tf_unilth.prune_low_magnitude(
  copy_of(dense),
  tf_unilth.IterativeSparsity(0.75, of='flops'),
  structure='channels',
)
fit(channels, [tf_unilth.UniLTH(pretrained=True)])
print(tf_unilth.sparsity_summary(channels))
channels = tf_unilth.strip_pruning(channels)

# %% [markdown]
# So far the removed channels are still there, filled with zeros. `shrink` makes
# a smaller network without them. `shrink_report` says what it does to each
# layer. The outputs stay the same.

# %%
print(tf_unilth.shrink_report(channels))
small = tf_unilth.shrink(channels)
same = np.allclose(small(x_test), channels(x_test), atol=1e-4)
print('same outputs:', same)
print(f'{small.count_params():,} parameters')

# %% [markdown]
# ## Files for TFLite
#
# `export_tflite` writes a file, runs it, and compares its outputs with those of
# the model. In int8 the weights and the values between the layers are whole
# numbers of 8 bits. For that the converter must see some inputs
# (`representative_data`), to learn the ranges of the values.

# %%
PLANS = {
  'dense': (dense, None),
  'single zeros': (zeros, None),
  'channels': (small, None),
  'dense int8': (dense, 'int8'),
  'channels int8': (small, 'int8'),
}
exports = {}
for name, (model, quantization) in PLANS.items():
  exports[name] = tf_unilth.export_tflite(
    model,
    f'{name.replace(" ", "_")}.tflite',
    quantization=quantization,
    representative_data=x[:200] if quantization else None,
  )
  print(f'{name:14} {exports[name].bytes:9,} bytes')

# %% [markdown]
# Single zeros make a small file: it stores where the other weights are. The
# result of the export says how each layer runs. No layer of this file skips its
# zeros:

# %%
print(exports['single zeros'])

# %% [markdown]
# ## Measure
#
# Accuracy first, from the files themselves, since int8 rounds.
#
# Then the time of a call with one image and one thread. The files are called in
# turn, in one process, so that whatever else the machine does slows down all of
# them. We take the least time of each, and say how many times as fast as the
# dense file it is. Five parts of the measurement give five such ratios: the
# least and the largest of them show how sure the number is.


# %%
def interpreter_of(name, batch):
  interpreter = lite.Interpreter(exports[name].path, num_threads=1)
  index = interpreter.get_input_details()[0]['index']
  interpreter.resize_tensor_input(index, (batch, *x.shape[1:]))
  interpreter.allocate_tensors()
  interpreter.set_tensor(index, x_test[:batch])
  return interpreter


def accuracy(name):
  interpreter = interpreter_of(name, len(x_test))
  interpreter.invoke()
  outputs = interpreter.get_tensor(interpreter.get_output_details()[0]['index'])
  return np.mean(outputs.argmax(axis=1) == y_test)


PARTS, CALLS = 5, 1000
interpreters = {name: interpreter_of(name, 1) for name in exports}
least = {name: np.full(PARTS, np.inf) for name in exports}
for part in range(PARTS):
  for _ in range(CALLS):
    for name, interpreter in interpreters.items():
      begin = time.perf_counter()
      interpreter.invoke()
      seconds = time.perf_counter() - begin
      least[name][part] = min(least[name][part], seconds)

ratios = {}
print('file                bytes  accuracy  times as fast as dense')
for name, export in exports.items():
  parts = least['dense'] / least[name]
  ratios[name] = least['dense'].min() / least[name].min()
  print(f'{name:14} {export.bytes:10,} {accuracy(name):9.2%}', end='')
  print(f'  {ratios[name]:.2f} ({parts.min():.2f} to {parts.max():.2f})')

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3), sharey=True)
places = np.arange(len(exports))
colors = [GREY, RED, BLUE, GREY, BLUE]
sizes = [export.bytes / 1000 for export in exports.values()]
for axis, values, form, title in (
  (axes[0], sizes, '{:.0f}', 'Size of the file, kB'),
  (axes[1], list(ratios.values()), '{:.1f}', 'Times as fast as dense'),
):
  bars = axis.barh(places, values, color=colors, height=0.65)
  axis.bar_label(bars, [form.format(value) for value in values], padding=3)
  axis.set_title(title)
  axis.set_xticks([])
  axis.spines['bottom'].set_visible(False)
axes[0].set_yticks(places, exports)
axes[0].invert_yaxis()
figure.tight_layout()
plt.show()

# %% [markdown]
# What one can see (times differ from machine to machine, and somewhat from run
# to run):
#
# - **Single zeros** make nothing faster. Only the file is smaller.
# - **Channels** make the model faster, and the file smaller too.
# - **int8** makes each file smaller again. Whether it is also faster depends on
#   the processor and on the network, so measure on the phone that you have in
#   mind. For so small a network on a PC it can be slower.
# - The accuracies differ by a few images or not at all. That is one run on easy
#   data: for a statement about accuracy look at
#   [accuracy of channels](../channels_accuracy.md), with larger networks and
#   several seeds.
#
# A quarter of the FLOPs does not make a model four times as fast. Some of the
# time of a call does not depend on the channels, and the smaller the network,
# the more that is.
#
# ## What next
#
# - [What is faster, and what is not](../faster.md) has measurements of larger
#   networks. It also shows blocks of zeros, which make Dense layers faster.
# - [Whole channels](../channels.md) says which layers can lose channels, and
#   [TFLite](../tflite.md) how to run a file.
