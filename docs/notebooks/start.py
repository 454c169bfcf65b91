# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Prune your first model
#
# A large network has many weights that it does not need. In this notebook you
# train a small network on images of digits, and then train it again while
# tf_unilth sets 95% of its weights to zero. You compare both networks, look at
# the weights that are left, and save the sparse network as a file of plain
# Keras.
#
# You need a checkout of the repository, and in it
# `pip install '.[data,report]'`. Nothing is downloaded. The whole notebook
# takes about a minute.

# %%
import os
import zipfile

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tf_unilth

SEED = 0
BLUE, RED, GREEN = '#0072B2', '#D55E00', '#009E73'
plt.rcParams |= {
  'axes.spines.top': False,
  'axes.spines.right': False,
  'legend.frameon': False,
}

# %% [markdown]
# ## The data
#
# scikit-learn has small grey images of handwritten digits. We split them into
# three parts:
#
# - the **training** images, from which the network learns,
# - the **validation** images, which `UniLTH` watches during training,
# - the **test** images, which are used once, to compare the networks.

# %%
images, labels = load_digits(return_X_y=True)
images = images / images.max()
x, x_test, y, y_test = train_test_split(
  images, labels, test_size=400, random_state=SEED, stratify=labels
)
x, x_validation, y, y_validation = train_test_split(
  x, y, test_size=200, random_state=SEED, stratify=y
)
validation, test = (x_validation, y_validation), (x_test, y_test)
print(f'{len(x):,} training, {len(x_validation)} validation ', end='')
print(f'and {len(x_test)} test images of 8x8 pixels')

figure, axes = plt.subplots(2, 10, figsize=(9, 2.2))
for axis, image, label in zip(axes.flat, x, y):
  axis.imshow(image.reshape(8, 8), cmap='gray_r')
  axis.set_title(label, fontsize=9)
  axis.axis('off')
figure.suptitle('Some training images and their labels', y=1.06)
plt.show()

# %% [markdown]
# ## A dense network
#
# This is ordinary Keras. The network is *dense*: all of its weights are
# trained. It is the reference for the sparse one, so both get the same number
# of epochs, the same optimizer and the same initial weights.
#
# `StagedLearningRate` is a learning rate that decays along a cosine. Here
# `decay_steps` is the length of the training.

# %%
EPOCHS, BATCH = 32, 32


def build():
  keras.utils.set_random_seed(SEED)
  return keras.Sequential([
    keras.Input((64,)),
    keras.layers.Dense(300, activation='relu', name='hidden'),
    keras.layers.Dense(10, name='head'),
  ])


def compile_model(model, learning_rate):
  model.compile(
    keras.optimizers.SGD(learning_rate, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
  )


def fit(model, callbacks=()):
  return model.fit(
    x,
    y,
    validation_data=validation,
    epochs=EPOCHS,
    batch_size=BATCH,
    verbose=0,
    callbacks=list(callbacks),
  ).history


dense = build()
steps = EPOCHS * -(-len(x) // BATCH)
compile_model(dense, tf_unilth.StagedLearningRate(0.1, decay_steps=steps))
dense_history = fit(dense)
dense_accuracy = dense.evaluate(*test, verbose=0)[1]
print(f'dense network: {dense_accuracy:.2%} of the test images are right')

# %% [markdown]
# ## The sparse network
#
# Three lines are new:
#
# - `prune_low_magnitude` prepares the model. `IterativeSparsity` is the
#   target: the share of the weights that is zero at the end.
# - `UniLTH` is the pruning method, a callback. It trains the dense network
#   first, then removes the smallest weights in rounds, and then trains the
#   rest.
# - `strip_pruning` takes out of the model what only pruning needed.
#
# Compile after `prune_low_magnitude`, not before. `StagedLearningRate` needs no
# `decay_steps` here. The callback sets them, and starts the decay again when
# pruning starts.

# %%
TARGET = 0.95

sparse = tf_unilth.prune_low_magnitude(
  build(), tf_unilth.IterativeSparsity(TARGET)
)
compile_model(sparse, tf_unilth.StagedLearningRate(0.1))
sparse_history = fit(sparse, [tf_unilth.UniLTH()])
sparse = tf_unilth.strip_pruning(sparse)

# %% [markdown]
# The callback prints what it does ([what the log says](../logs.md)).
# `sparsity_summary` counts the zeros. The target holds for all layers together,
# and it is met to the weight. The small last layer keeps a larger share of its
# weights than the first one.

# %%
print(tf_unilth.sparsity_summary(sparse))

# %% [markdown]
# ## Compare them
#
# How much accuracy do the zeros cost?

# %%
sparse_accuracy = sparse.evaluate(*test, verbose=0)[1]
rows = ('dense', dense, dense_accuracy), ('sparse', sparse, sparse_accuracy)
print('network  weights that are not zero  test accuracy')
for name, model, accuracy in rows:
  summary = tf_unilth.sparsity_summary(model)
  left = summary.total_weights - summary.zeros
  print(f'{name:7} {left:26,} {accuracy:14.2%}')
print(f'One test image is {100 / len(x_test)} percentage points.')

# %% [markdown]
# The two accuracies are close. The last line says why we do not make more of
# it: the test set is small, and a few images more or less say little. One run
# says little too. [Results](../results.md) has comparisons with several seeds
# and larger data.
#
# The next picture shows both trainings. The background has the three stages of
# `UniLTH`: the dense network trains (white), rounds of pruning (yellow), the
# sparse network trains (blue).

# %%
epochs = np.arange(1, EPOCHS + 1)
figure, (above, below) = plt.subplots(
  2, 1, figsize=(8, 4.8), sharex=True, height_ratios=(3, 2)
)
for history, name, color in (
  (dense_history, 'dense', RED),
  (sparse_history, 'sparse', BLUE),
):
  accuracy = 100 * np.array(history['val_accuracy'])
  above.plot(epochs, accuracy, color=color, label=name)
above.set_ylabel('validation\naccuracy, %')
above.set_title('Accuracy and sparsity over the epochs')
above.legend(loc='lower right')
below.plot(epochs, 100 * np.array(sparse_history['sparsity']), color=GREEN)
below.set_ylabel('zeros of the\nsparse network, %')
below.set_xlabel('epoch')
for epoch, stage in zip(epochs, sparse_history['stage']):
  for axis in above, below:
    color = {1: 'white', 2: '#FFF3C4', 3: '#DCEBF7'}[int(stage)]
    axis.axvspan(epoch - 0.5, epoch + 0.5, color=color, zorder=0, lw=0)
above.set_xlim(0.5, EPOCHS + 0.5)
figure.tight_layout()
plt.show()

# %% [markdown]
# While weights are removed, the accuracy falls, and it rises again in the last
# stage. On the validation images the sparse network ends a little below the
# dense one. There are even fewer of these than test images, so one image is a
# larger step.
#
# ## Which weights are left?
#
# The first layer has one weight for each pixel and each of its units. So the
# weights that are left can be drawn as an image: how many weights read each
# pixel?

# %%
kernel = sparse.get_layer('hidden').get_weights()[0]
kept = (kernel != 0).sum(axis=1).reshape(8, 8)
mean_image = x.mean(axis=0).reshape(8, 8)
blank = mean_image == 0
print(f'{blank.sum()} pixels are blank in all training images.')
print(f'{kept[blank].sum()} weights read these pixels, ', end='')
print(f'{kept[~blank].sum()} the others.')

figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.2))
for axis, picture, title, cmap in (
  (axes[0], mean_image, 'the mean training image', 'gray_r'),
  (axes[1], kept, 'weights left for each pixel', 'Blues'),
):
  drawn = axis.imshow(picture, cmap=cmap)
  axis.set_title(title)
  axis.axis('off')
  figure.colorbar(drawn, ax=axis, shrink=0.85)
plt.show()

# %% [markdown]
# The edges of the images are nearly always blank, and hardly any weight that
# reads them is left. The network was never told so. Weights of blank pixels
# learn nothing, stay small, and are removed first.
#
# ## Save it
#
# The file is one of plain Keras. Any program can load it, without tf_unilth.

# %%
sparse.save('sparse.keras')
with zipfile.ZipFile('sparse.keras') as file:
  needed = b'tf_unilth' in file.read('config.json')
print('the file needs tf_unilth:', needed)

loaded = keras.saving.load_model('sparse.keras')
same = np.array_equal(
  loaded.predict(x_test, verbose=0), sparse.predict(x_test, verbose=0)
)
print('same predictions after loading:', same)
print('zeros after loading:', f'{tf_unilth.sparsity_summary(loaded).zeros:,}')

# %% [markdown]
# A `.keras` file stores a zero like any other number, so it is as large as that
# of the dense network. `export_saved_model` stores the weights that are left
# and their places. It loads the file again and compares the outputs before it
# is done.

# %%
dense.save('dense.keras')
for name in 'dense.keras', 'sparse.keras':
  print(f'{name:12} {os.path.getsize(name):,} bytes')
export = tf_unilth.export_saved_model(sparse, 'export')
print(f'the weights: {export.dense_bytes:,} bytes in memory')
print(f'in the export: {export.stored_bytes:,} bytes')
print(f'zeros kept: {export.zeros_kept:,} of {export.zeros:,}')

# %% [markdown]
# ## What next
#
# - Change `TARGET`, or the network, and run the notebook again.
# - You have a trained network already:
#   [prune a trained model](pretrained.ipynb).
# - Zeros alone do not make a network faster: [a faster model](faster.ipynb).
# - The guide with the same program and its pitfalls: [start](../start.md).
