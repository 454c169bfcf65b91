# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Prune a model that is already trained
#
# You have a trained model, and want a sparse one. You need not train it from
# the beginning: some more epochs are enough, in which the model is pruned and
# learns again. In this notebook you compare that with cutting weights and no
# training, at several sparsities, and you see what the learning rate does.
#
# You need a checkout of the repository, and in it
# `pip install '.[data,report]'`. Nothing is downloaded. The whole notebook
# takes one to two minutes.

# %%
import logging

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tf_unilth

# Without this, TensorFlow logs how often it compiles.
logging.getLogger('tensorflow').setLevel('ERROR')

SEED = 0
keras.utils.set_random_seed(SEED)
BLUE, RED, GREY = '#0072B2', '#D55E00', '#666666'
plt.rcParams |= {
  'axes.spines.top': False,
  'axes.spines.right': False,
  'legend.frameon': False,
}

# %% [markdown]
# ## The trained model
#
# This part stands for the model that you have. It is a small convolutional
# network for scikit-learn's images of digits, trained with Adam and saved to a
# file.
#
# The validation images are for choosing a learning rate further below. The test
# images measure the accuracy.

# %%
images, labels = load_digits(return_X_y=True)
images = (images / images.max()).reshape(-1, 8, 8, 1)
x, x_test, y, y_test = train_test_split(
  images, labels, test_size=400, random_state=SEED, stratify=labels
)
x, x_validation, y, y_validation = train_test_split(
  x, y, test_size=200, random_state=SEED, stratify=y
)
print(f'{len(x):,} training, {len(x_validation)} validation ', end='')
print(f'and {len(x_test)} test images of 8x8 pixels')

RATE = 3e-3


def compile_model(model, rate=RATE):
  model.compile(
    keras.optimizers.Adam(rate),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
  )


def accuracy(model, x=x_test, y=y_test):
  return 100 * model.evaluate(x, y, batch_size=len(x), verbose=0)[1]


layers = keras.layers
trained = keras.Sequential([
  keras.Input((8, 8, 1)),
  layers.Conv2D(16, 3, padding='same', activation='relu', name='first'),
  layers.MaxPooling2D(),
  layers.Conv2D(32, 3, padding='same', activation='relu', name='second'),
  layers.MaxPooling2D(),
  layers.Flatten(),
  layers.Dense(64, activation='relu', name='hidden'),
  layers.Dense(10, name='head'),
])
compile_model(trained)
trained.fit(x, y, epochs=15, verbose=0)
trained.save('trained.keras')
trained_accuracy = accuracy(trained)
print(f'trained model: {trained_accuracy:.2f}% of the test images are right')

# %% [markdown]
# ## Prune and fine-tune
#
# Load the model, prepare it with `prune_low_magnitude`, compile it, and fit it
# with `UniLTH(pretrained=True)`. Pruning then begins at the first step, in
# rounds: each removes some of the smallest weights, and the others make up for
# them. No validation data are needed.

# %%
EPOCHS = 12


def prune(sparsity, rate=RATE, verbose=0):
  keras.utils.set_random_seed(SEED)
  model = keras.saving.load_model('trained.keras')
  model = tf_unilth.prune_low_magnitude(
    model, tf_unilth.IterativeSparsity(sparsity)
  )
  compile_model(model, rate)
  callback = tf_unilth.UniLTH(pretrained=True, verbose=verbose)
  model.fit(x, y, epochs=EPOCHS, verbose=0, callbacks=[callback])
  return tf_unilth.strip_pruning(model)


pruned = {0.9: prune(0.9, verbose=1)}
print(tf_unilth.sparsity_summary(pruned[0.9]))
right = accuracy(pruned[0.9])
print(f'sparse model: {right:.2f}% of the test images are right')

# %% [markdown]
# The callback says how many rounds fit into the epochs. More epochs would give
# more rounds, to the same target ([what the log says](../logs.md#rounds)).
#
# ## Is the fine-tuning needed?
#
# The other way is to cut the smallest weights of the trained model, and to stop
# there. It costs no training. The next cell does that with NumPy, and prunes
# with fine-tuning to the same sparsities.


# %%
def cut(sparsity):
  """Returns the trained model without its smallest weights."""
  model = keras.saving.load_model('trained.keras')
  kernels = [layer.kernel for layer in model.layers if layer.weights]
  magnitudes = [np.abs(kernel.numpy()) for kernel in kernels]
  limit = np.quantile(np.concatenate([m.ravel() for m in magnitudes]), sparsity)
  for kernel, magnitude in zip(kernels, magnitudes):
    kernel.assign(np.where(magnitude > limit, kernel.numpy(), 0))
  return model


SPARSITIES = 0.8, 0.9, 0.95, 0.98
for sparsity in SPARSITIES:
  if sparsity not in pruned:
    pruned[sparsity] = prune(sparsity)
fine_tuned = {s: accuracy(pruned[s]) for s in SPARSITIES}
cut_only = {s: accuracy(cut(s)) for s in SPARSITIES}

print('test accuracy in percent')
print('zeros   cut only   with fine-tuning')
for sparsity in SPARSITIES:
  print(f'{sparsity:4.0%} {cut_only[sparsity]:11.2f}', end=' ')
  print(f'{fine_tuned[sparsity]:18.2f}')
print(f'the trained model has {trained_accuracy:.2f}')

# %%
figure, axis = plt.subplots(figsize=(7, 3.6))
places = np.arange(len(SPARSITIES))
axis.axhline(
  trained_accuracy, color=GREY, ls='--', label='trained, without zeros'
)
for results, color, name in (
  (fine_tuned, BLUE, 'pruned with fine-tuning'),
  (cut_only, RED, 'cut only'),
):
  values = [results[sparsity] for sparsity in SPARSITIES]
  axis.plot(places, values, 'o-', color=color, label=name)
axis.set_xticks(places, [f'{sparsity:.0%}' for sparsity in SPARSITIES])
axis.set_xlabel('zeros')
axis.set_ylabel('test accuracy, %')
axis.set_ylim(0, 105)
axis.set_title('The same trained model, with and without fine-tuning')
axis.legend(loc='center left', bbox_to_anchor=(1, 0.5))
figure.tight_layout()
plt.show()

# %% [markdown]
# Cutting alone ruins the model at each of these sparsities. With fine-tuning
# the accuracy is kept for a while. Then it falls too: the network is small, and
# at the highest target few weights are left. Where your model begins to fall
# depends on its size, so begin with a moderate target and raise it.
#
# ## Which learning rate?
#
# People often fine-tune with a small learning rate, so that the model forgets
# little. For pruning that is wrong: the weights that are left must change a lot
# to make up for those that are gone. We try some rates around the one that the
# model was trained with, and compare them on the validation images.

# %%
sparsity = 0.95
print(f'{sparsity:.0%} zeros; the model was trained with a rate of {RATE}')
for rate in RATE / 10, RATE / 3, RATE, 3 * RATE:
  model = pruned[sparsity] if rate == RATE else prune(sparsity, rate)
  right = accuracy(model, x_validation, y_validation)
  print(f'rate {rate:.4f}: {right:.1f}% of the validation images are right')

# %% [markdown]
# Below the rate of the training, the accuracy falls with the rate. So begin
# with the rate of the training. A larger one can be tried too, but there are
# few validation images: to tell near rates apart takes more data, or several
# seeds. If the accuracy is too low with a good rate, use more epochs or a lower
# target.
#
# ## MobileNetV2 and other networks of Keras
#
# The networks of `keras.applications` are prepared in the same way. This cell
# only prepares one and counts its weights. `weights=None` needs no download;
# with `weights='imagenet'` Keras downloads trained weights, and you go on as
# above, with your own images.
#
# `scope='erk'` keeps a larger share of small layers. A deep network needs that
# at high targets. `skip` leaves the new head dense.

# %%
shape = 96, 96, 3
model = keras.Sequential([
  keras.Input(shape),
  layers.Rescaling(1 / 127.5, offset=-1),  # It wants pixels from -1 to 1.
  keras.applications.MobileNetV2(
    shape, alpha=0.35, include_top=False, pooling='avg', weights=None
  ),
  layers.Dense(4, name='classes'),
])
schedule = tf_unilth.IterativeSparsity(0.8, scope='erk')
model = tf_unilth.prune_low_magnitude(model, schedule, skip=['classes'])
summary = tf_unilth.sparsity_summary(model)
share = summary.total_weights / model.count_params()
print(f'{len(summary.rows)} kernels will be pruned. ', end='')
print(f'They have {share:.0%} of all {model.count_params():,} parameters.')
print('The largest:')
rows = sorted(summary.rows, key=lambda row: row.weights, reverse=True)
for row in rows[:4]:
  print(f'  {row.name:18} {row.weights:8,} weights')

# %% [markdown]
# Depthwise kernels, biases, normalization layers and the new head stay dense.
# They have the rest of the parameters.
#
# ## What next
#
# - The guide: [a trained model](../pretrained.md). It also replaces the head by
#   one for new classes.
# - [Tested networks](../models.md) says what is pruned in which network.
# - A model that is faster, not only smaller: [a faster model](faster.ipynb).
