# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lottery tickets, and how to check one
#
# A *lottery ticket* is a sparse network that trains about as well as the dense
# one, if it starts from the right weights. In this notebook you find a ticket,
# save it to a file, load it, and put it onto a network for another task. Then
# you check it: you train it again from its initial weights, and compare it
# with controls, over several seeds.
#
# You need a checkout of the repository, and in it
# `pip install '.[data,report]'`. Nothing is downloaded. The whole notebook
# takes one to two minutes.

# %%
import logging
import os

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tf_unilth
from tf_unilth import inspection

# Without this, TensorFlow logs how often it compiles.
logging.getLogger('tensorflow').setLevel('ERROR')

SEEDS = 0, 1, 2, 3
BLUE, RED, GREEN, GREY = '#0072B2', '#D55E00', '#009E73', '#666666'
plt.rcParams |= {
  'axes.spines.top': False,
  'axes.spines.right': False,
  'legend.frameon': False,
}

# %% [markdown]
# ## Data and network
#
# The data are scikit-learn's images of digits. `UniLTH` watches the validation
# images while it finds a ticket. The test images measure the accuracy.

# %%
images, labels = load_digits(return_X_y=True)
images = images / images.max()
x, x_test, y, y_test = train_test_split(
  images, labels, test_size=400, random_state=0, stratify=labels
)
x, x_validation, y, y_validation = train_test_split(
  x, y, test_size=200, random_state=0, stratify=y
)
print(f'{len(x):,} training, {len(x_validation)} validation, ', end='')
print(f'{len(x_test)} test images; one test image is ', end='')
print(f'{100 / len(x_test)} percentage points')

BATCH = 64
STEPS_PER_EPOCH = -(-len(x) // BATCH)


def build(seed, classes=10, head='head'):
  keras.utils.set_random_seed(seed)
  return keras.Sequential([
    keras.Input((64,)),
    keras.layers.Dense(300, activation='relu', name='body'),
    keras.layers.Dense(classes, name=head),
  ])


def train(model, epochs, callback=None, target=None, **options):
  """Trains a model; `target` makes other labels of the digits."""
  rate = tf_unilth.StagedLearningRate(
    0.1, decay_steps=None if callback else epochs * STEPS_PER_EPOCH
  )
  model.compile(
    keras.optimizers.SGD(rate, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
  )
  model.fit(
    x,
    y if target is None else target(y),
    batch_size=BATCH,
    epochs=epochs,
    verbose=0,
    callbacks=[callback] if callback else [],
    **options,
  )


def test_accuracy(model, target=None):
  expected = y_test if target is None else target(y_test)
  return model.evaluate(x_test, expected, batch_size=400, verbose=0)[1]


# %% [markdown]
# ## Find a ticket
#
# `UniLTH` trains the network and removes weights until 95% are zero. Then
# `Ticket.from_model` takes the mask from the model: which weights are kept. We
# add the *initial weights*, those from before the training. `get_weights` must
# be called before `fit` for that.

# %%
TARGET = 0.95


def find_ticket(seed, verbose=0):
  model = build(seed)
  initial = model.get_weights()
  model = tf_unilth.prune_low_magnitude(
    model, tf_unilth.IterativeSparsity(TARGET)
  )
  callback = tf_unilth.UniLTH(verbose=verbose)
  train(model, 24, callback, validation_data=(x_validation, y_validation))
  return tf_unilth.Ticket.from_model(model, callback, rewind_weights=initial)


ticket = find_ticket(seed=SEEDS[0], verbose=1)
print(ticket)

# %% [markdown]
# ## Save it and load it
#
# The file has the mask, one bit for each weight, and the initial weights. It
# has no model and no program, so it can be shared. `tf-unilth inspect
# digits.ticket` prints in a terminal what this cell prints.

# %%
ticket.save('digits.ticket')
print(f'the file has {os.path.getsize("digits.ticket"):,} bytes')
print(inspection.read('digits.ticket'))
ticket = tf_unilth.Ticket.load('digits.ticket')

# %% [markdown]
# ## Another task, another head
#
# `apply` puts the ticket onto a new model: it sets the weights to the initial
# ones of the ticket, and fixes the zeros. Then compile and fit as usual, with a
# ticket callback. It prunes nothing more, and keeps the zeros.
#
# The new task has two classes: is the digit odd? So the model has another head.
# `skip` names the layer that takes nothing from the ticket. It stays dense.
#
# We train two more models for comparison. One has a *random ticket*: a mask
# with as many zeros in each layer, but at random places. The other is dense.

# %%
EPOCHS = 16


def random_ticket(ticket, seed):
  """Returns a ticket with the same share of zeros per layer."""
  generator = np.random.default_rng(seed)
  masks = {
    name: generator.permutation(mask.ravel()).reshape(mask.shape)
    for name, mask in ticket.masks.items()
  }
  return tf_unilth.Ticket(
    masks, rewind_weights=ticket.rewind_weights, method='random'
  )


def is_odd(digits):
  return digits % 2


for name, mask in (
  ('ticket', ticket),
  ('random ticket', random_ticket(ticket, seed=0)),
  ('dense', None),
):
  model = build(seed=100, classes=2, head='parity')
  if mask is not None:
    model = mask.apply(model, skip=['parity'])
  callback = tf_unilth.UniLTH(verbose=0) if mask is not None else None
  train(model, EPOCHS, callback, target=is_odd)
  print(f'{name:13} {test_accuracy(model, target=is_odd):.2%}')
  if mask is ticket:
    parity = tf_unilth.strip_pruning(model)
print(tf_unilth.sparsity_summary(parity))

# %% [markdown]
# The ticket was found for other labels. Here it is better than random places,
# but the dense network is better still. A ticket that moves to another task is
# worth a test, and no more can be said in advance.
#
# ## The control
#
# Is a ticket more than a small network that any zeros would give? We answer it
# for the task of the ticket, the ten digits. Each row trains for the same
# number of epochs, with the same optimizer:
#
# - **dense**: all weights,
# - **ticket**: the mask that was found, from its initial weights,
# - **ticket, new weights**: the same mask, from other initial weights. Is it
#   the mask alone that counts?
# - **random ticket**: a random mask with the same share of zeros in each layer,
#   from the same initial weights.
#
# One run says little. We find a ticket for each of several seeds, and look at
# the mean and the standard deviation.

# %%
found = {
  seed: ticket if seed == SEEDS[0] else find_ticket(seed) for seed in SEEDS
}
results = {
  name: []
  for name in ('dense', 'ticket', 'ticket, new weights', 'random ticket')
}
for seed, one in found.items():
  other = random_ticket(one, seed)
  models = (
    build(seed),
    one.apply(build(seed)),
    one.apply(build(seed + 100), weights=False),
    other.apply(build(seed)),
  )
  for (name, accuracies), model in zip(results.items(), models):
    callback = None if name == 'dense' else tf_unilth.UniLTH(verbose=0)
    train(model, EPOCHS, callback)
    accuracies.append(100 * test_accuracy(model))

print(f'test accuracy in percent, {len(SEEDS)} seeds')
for name, accuracies in results.items():
  mean, deviation = np.mean(accuracies), np.std(accuracies, ddof=1)
  each = ' '.join(f'{accuracy:.2f}' for accuracy in accuracies)
  print(f'{name:19} {mean:.2f} ± {deviation:.2f}   ({each})')

# %%
figure, axis = plt.subplots(figsize=(8, 3))
colors = RED, BLUE, GREEN, GREY
for row, (color, accuracies) in enumerate(zip(colors, results.values())):
  axis.plot(accuracies, [row] * len(accuracies), 'o', color=color, alpha=0.6)
  mean = np.mean(accuracies)
  axis.plot([mean, mean], [row - 0.3, row + 0.3], color=color, lw=2)
axis.set_yticks(range(len(results)), results)
axis.invert_yaxis()
axis.grid(axis='x', color='#E5E5E5')
axis.set_xlabel('test accuracy, % (a dot for each seed, a line for the mean)')
axis.set_title(f'The same training, with {TARGET:.0%} zeros or none')
figure.tight_layout()
plt.show()

# %% [markdown]
# What one can see:
#
# - The ticket is far above the random ticket, for each seed. It matters which
#   weights are left.
# - The same mask with new weights is between them, near to the ticket. So most
#   of what the ticket has is its mask, and its initial weights add some.
# - The dense network is still the best, by less than a point. Strictly, a
#   *winning* ticket must be as good as the dense network. At this sparsity and
#   with so short a training it is not quite that.
#
# ## Why is the random ticket worse?
#
# One reason can be counted. A weight has an effect only if it is on a path from
# a pixel that is not always blank to an output. Random zeros cut more of these
# paths.


# %%
def share_on_paths(ticket):
  """Returns how many of the weights that are left can have an effect."""
  body, head = ticket.masks.values()
  seen = x.max(axis=0) > 0  # Pixels that are not blank in all images.
  has_input = body[seen].any(axis=0)
  has_output = head.any(axis=1)
  useful = body[seen][:, has_output].sum() + head[has_input].sum()
  return useful / (body.sum() + head.sum())


for name, tickets in (
  ('ticket', found.values()),
  ('random ticket', [random_ticket(t, s) for s, t in found.items()]),
):
  share = np.mean([share_on_paths(ticket) for ticket in tickets])
  print(f'{name:13} {share:.0%} of the weights that are left have an effect')

# %% [markdown]
# The random ticket wastes more of its few weights, and its places know nothing
# of which pixels tell the digits apart. So this control is a weak one. Stronger
# ones spread the zeros better over the layers, or choose them while the network
# trains. [All comparisons](../comparison.md) have such controls, also those
# that are against us.
#
# ## What next
#
# - Change `TARGET` in both directions: how does the order of the rows change?
# - The guide: [tickets](../tickets.md). The methods: [methods](../methods.md).
# - You do not need a ticket file to keep the zeros of a sparse model in further
#   training: use `prune_low_magnitude(model, tf_unilth.FixedMask())`.
