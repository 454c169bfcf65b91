"""A run of `recipes.pretrained`, and its dense model."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.data.dataset import DataOptions, Dataset, Split
from recipes.training import (
  catalogue,
  keras_classes,
  method_settings,
  methods,
)
from recipes.training.recipe import Recipe

Settings = Mapping[str, float]

EPOCHS = 5
_EVALUATED = 2000  # Images at once.
_ADAM_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Task:
  """A network that is trained dense and then pruned.

  Args:
    recipe: the network, its data and how it is trained dense.
    sparsity: the target, in (0, 1).
  """

  recipe: Recipe
  sparsity: float


TASKS = {
  'digits_cnn': Task(catalogue.load('digits_cnn'), 0.9),
  'mnist_lenet': Task(catalogue.load('mnist_lenet'), 0.95),
}
OPTIMIZERS = ('adam', 'sgd')


@dataclasses.dataclass(frozen=True)
class _Method:
  """A row of the comparison.

  Args:
    plan: its name in `recipes/training/methods.py`.
    callback: arguments of its ticket callback.
    schedule: arguments of its `IterativeSparsity`.
  """

  plan: str
  callback: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  schedule: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_PRETRAINED = {'pretrained': True}
METHODS = {
  'polynomial_decay': _Method('gmp'),
  'unilth': _Method('unilth', _PRETRAINED),
  'unilth_layer': _Method('unilth', _PRETRAINED, {'scope': 'layer'}),
  'unidlth': _Method('unidlth', _PRETRAINED),
}


@dataclasses.dataclass(frozen=True)
class Trial:
  """One pruning of a trained model.

  Args:
    task: a name of `TASKS`.
    optimizer: a name of `OPTIMIZERS`.
    method: a name of `METHODS`.
    seed: of the dense model, the split, the order of the data and the ticket.
    settings: of the method, by name: `rate` (SGD's highest, in units of the
      recipe's), `warmup`, `finetune_fraction`, `begin` and `end` (the shares of
      the steps between which PolynomialDecay prunes).
  """

  task: str
  optimizer: str
  method: str
  seed: int
  settings: tuple[tuple[str, float], ...] = ()

  @property
  def words(self) -> str:
    """The settings as text."""
    return ' '.join(f'{name}={value:g}' for name, value in self.settings)


class Bench:
  """The data and the dense weights of a task and a seed.

  Args:
    task: a name of `TASKS`.
    seed: of data and training.
    data_dir: where the data lie.
    directory: keeps the dense weights between processes.
  """

  def __init__(
    self,
    task: str,
    seed: int,
    data_dir: str | None,
    directory: pathlib.Path,
  ):
    self._task, self._seed = TASKS[task], seed
    self._data = _load(self._task.recipe, data_dir, seed)
    self._weights = directory / f'{task}-seed{seed}.npz'
    if not self._weights.exists():
      self._train_dense()
    self.dense = self._accuracies(self._trained())

  def run(self, trial: Trial) -> dict[str, Any]:
    """Prunes the dense model; returns the results of a row."""
    method, settings = METHODS[trial.method], dict(trial.settings)
    steps = EPOCHS * self._steps_per_epoch
    keras.utils.set_random_seed(self._seed)
    rate = self._rate(steps, settings)
    plan = self._plan(method, steps, rate, settings)
    model = tf_unilth.prune_low_magnitude(self._trained(), plan.schedule)
    optimizer = keras.optimizers.Adam(_ADAM_RATE)
    if trial.optimizer == 'sgd':
      optimizer = self._sgd(rate)
    _compile(model, optimizer)
    begin = time.perf_counter()
    self._fit(model, EPOCHS, plan.callbacks)
    seconds = time.perf_counter() - begin
    sparsity = tf_unilth.sparsity_summary(model).sparsity
    ticket = plan.ticket
    return {
      'sparsity': sparsity,
      'rounds': ticket.rounds if ticket else None,
      **self._accuracies(tf_unilth.strip_pruning(model)),
      'seconds': round(seconds, 1),
    }

  @property
  def _steps_per_epoch(self) -> int:
    return -(-self._data.train.examples // self._task.recipe.batch_size)

  def _train_dense(self) -> None:
    recipe = self._task.recipe
    keras.utils.set_random_seed(self._seed)
    model = self._built()
    steps = recipe.epochs * self._steps_per_epoch
    _compile(model, self._sgd(self._rate(steps, {})))
    self._fit(model, recipe.epochs)
    self._weights.parent.mkdir(parents=True, exist_ok=True)
    beside = self._weights.with_suffix('.tmp.npz')
    np.savez(beside, *model.get_weights())
    os.replace(beside, self._weights)

  def _built(self) -> keras.Model:
    data = self._data
    return self._task.recipe.build(keras, data.image_shape, data.classes)

  def _trained(self) -> keras.Model:
    model = self._built()
    with np.load(self._weights, allow_pickle=False) as stored:
      model.set_weights([stored[name] for name in stored.files])
    return model

  def _rate(
    self, steps: int, settings: Settings
  ) -> tf_unilth.StagedLearningRate:
    recipe = self._task.recipe
    return tf_unilth.StagedLearningRate(
      settings.get('rate', 1.0) * recipe.learning_rate,
      decay=recipe.decay,
      decay_steps=steps,
      warmup=settings.get('warmup', 0.0),
    )

  def _sgd(self, rate: tf_unilth.StagedLearningRate) -> Any:
    recipe = self._task.recipe
    return keras_classes.sgd(keras)(
      rate,
      recipe.weight_decay,
      momentum=recipe.momentum,
      nesterov=recipe.nesterov,
    )

  def _plan(
    self,
    method: _Method,
    steps: int,
    rate: tf_unilth.StagedLearningRate,
    settings: dict[str, float],
  ) -> method_settings.TrainingSetup:
    callback = {**method.callback, 'verbose': 0}
    if 'finetune_fraction' in settings:
      callback['finetune_fraction'] = settings['finetune_fraction']
    return methods.training_setup(
      method.plan,
      method_settings.Settings(
        target_sparsity=self._task.sparsity,
        steps=steps,
        seed=self._seed,
        rate=rate,
        lr_restart=False,
        begin_fraction=settings.get('begin'),
        end_fraction=settings.get('end', 0.7),
        schedule=dict(method.schedule),
        callback=callback,
        keras=keras,
      ),
    )

  def _fit(
    self,
    model: keras.Model,
    epochs: int,
    callbacks: Sequence[Any] = (),
  ) -> None:
    batch_size = self._task.recipe.batch_size
    model.fit(
      self._data.train.epochs(batch_size, self._seed, 0, epochs),
      epochs=epochs,
      steps_per_epoch=self._steps_per_epoch,
      callbacks=list(callbacks),
      verbose=0,
    )

  def _accuracies(self, model: keras.Model) -> dict[str, float]:
    return {
      'validation_accuracy': _accuracy(model, self._data.validation),
      'test_accuracy': _accuracy(model, self._data.test),
    }


def _accuracy(model: keras.Model, split: Split) -> float:
  right = 0
  for images, labels in split.batches(_EVALUATED):
    # Eagerly: tracing would take longer than what is computed.
    classes = tf.argmax(model(images, training=False), -1)
    right += int(tf.reduce_sum(tf.cast(classes == labels, tf.int64)))
  return right / split.examples


def _load(recipe: Recipe, data_dir: str | None, seed: int) -> Dataset:
  own = None if recipe.name == 'digits_cnn' else data_dir  # In a wheel.
  return recipe.load(DataOptions(data_dir=own, seed=seed))


def _compile(model: keras.Model, optimizer: Any) -> None:
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile(optimizer, loss)
