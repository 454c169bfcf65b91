"""One case of the model fuzz test, from end to end."""

import contextlib
import dataclasses
import gc
import io
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.stress import channel_checks
from tests.stress.fuzz_errors import error_text, is_documented
from tests.stress.model_checks import (
  Wrong,
  bare,
  base_name,
  check_close,
  check_logs,
  check_sparsity,
  inner_layers,
  kernels,
  predict,
  pruned,
  reload,
  wrappers,
)
from tests.testing import random_models, random_networks, random_pruning
from tests.testing.draw import Draw
from tests.testing.random_layers import KERNELS
from tests.testing.random_models import RandomModel
from tests.testing.random_pruning import RandomPruning

# Drawing a model that Keras itself cannot train does not count as a case.
_ATTEMPTS = 50
# How often whole channels are pruned.
_CHANNELS = 0.15
# What a finished run must not have said.
_ALARMS = ('other weights or masks were put', 'NOT met')

# Results of a case.
TRAINED, REFUSED, FAILED = 'trained', 'refused', 'failed'


@dataclasses.dataclass
class Row:
  """What became of a case.

  Args:
    seed: what all is drawn from.
    index: of the case.
    kind: of the model.
    layers: of the model, in words.
    pruning: what was asked for.
    outcome: one of the three above.
    text: the error, if there was one.
    discarded: models that were drawn in vain.
    seconds: that it took.
    backend: of Keras 3; empty for tf_keras.
  """

  seed: int
  index: int
  kind: str = ''
  layers: str = ''
  pruning: str = ''
  outcome: str = FAILED
  text: str = ''
  discarded: int = 0
  seconds: float = 0.0
  backend: str = ''


def run(seed: int, index: int, channels: bool = False) -> Row:
  """Runs the case of a seed and an index.

  Args:
    seed: what all is drawn from.
    index: the number of the case.
    channels: whether each case prunes whole channels, not only some.
  """
  with _whole_tracebacks(), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return _run(seed, index, channels)


@contextlib.contextmanager
def _whole_tracebacks() -> Iterator[None]:
  """Shows Keras's frames, without which its errors would look like ours."""
  was_filtered = tf.debugging.is_traceback_filtering_enabled()
  tf.debugging.disable_traceback_filtering()
  try:
    yield
  finally:
    if was_filtered:
      tf.debugging.enable_traceback_filtering()


def _run(seed: int, index: int, channels: bool) -> Row:
  begin = time.perf_counter()
  row = Row(seed, index)
  for attempt in range(_ATTEMPTS):
    case = _Case((seed, index, attempt), channels)
    saves = case.control()
    if saves is None:
      row.discarded += 1
      continue
    row.kind, row.layers = case.drawn.kind, case.drawn.layers
    try:
      case.run(saves)
      row.outcome = TRAINED
      row.text = '' if saves else 'Keras cannot save it'
    except Exception as error:
      row.outcome = REFUSED if is_documented(error) else FAILED
      row.text = error_text(error, row.outcome == FAILED)
    row.pruning = str(case.pruning)
    break
  _clear()
  row.seconds = round(time.perf_counter() - begin, 1)
  return row


def _clear() -> None:
  keras.backend.clear_session()
  keras.mixed_precision.set_global_policy('float32')
  gc.collect()


class _Case:
  """A model and how it is pruned, drawn from a seed.

  Args:
    seed: whole numbers.
    channels: whether whole channels are pruned in any case.
  """

  def __init__(self, seed: tuple[int, ...], channels: bool):
    self._seed = seed
    self.pruning: RandomPruning = random_pruning.make(Draw(*seed, 0))
    d = Draw(*seed, 3)
    if d.chance(_CHANNELS) or channels:
      self.pruning = random_pruning.by_channels(d, self.pruning)
    self.drawn: RandomModel

  @property
  def _targets(self) -> set[float]:
    """What the layers may be pruned to."""
    own = self.pruning.targets.values()
    return {self.pruning.schedule['target_sparsity'], *own}

  @property
  def _by_channels(self) -> bool:
    return 'structure' in self.pruning.structure

  def _make(self, wrap: random_models.Wrap) -> RandomModel:
    _clear()
    keras.mixed_precision.set_global_policy(self.pruning.policy)
    keras.utils.set_random_seed(sum(self._seed))
    make = random_networks.make if self._by_channels else random_models.make
    return make(Draw(*self._seed, 1), wrap)

  def _data(self) -> tuple[Any, Any]:
    return self.drawn.data(Draw(*self._seed, 2), self.pruning.count)

  # Without pruning.

  def control(self) -> bool | None:
    """Trains the model for a step without pruning.

    Returns:
      Whether Keras can also save and load it; `None` if it cannot train it.
    """
    try:
      self.drawn = self._make(lambda layer: layer)
      model = self.drawn.model
      self._fit(model, [], epochs=1)
      self._trained = shapes(model.trainable_weights)
      x, _ = self._data()
      outputs = predict(model, x)
      if not all(np.isfinite(output).all() for output in outputs):
        return None
    except Exception:
      return None
    try:
      check_close(outputs, predict(reload(model), x), 'reloaded control')
    except Exception:
      return False
    return True

  def _tfmot_works(self) -> bool:
    """Returns whether tfmot alone can prune the model."""
    try:
      model = self._make(lambda layer: layer).model
      model = tfmot.sparsity.keras.prune_low_magnitude(
        model, tfmot.sparsity.keras.ConstantSparsity(0.5, 0)
      )
      self._fit(model, [tfmot.sparsity.keras.UpdatePruningStep()], epochs=1)
    except Exception:
      return False
    return True

  # With pruning.

  def run(self, saves: bool) -> None:
    """Prunes, and checks all that the library promises."""
    if self.pruning.by_tfmot and (
      self.drawn.kind == 'subclassed' or not self._tfmot_works()
    ):
      self.pruning = dataclasses.replace(self.pruning, by_tfmot=False)
    model, expected = self._wrapped()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
      history = self._fit(
        model, [self.pruning.make_callback()], **self._fit_arguments()
      )
    for alarm in _ALARMS:
      if alarm in said.getvalue():
        raise Wrong(f'the callback said: {said.getvalue()}')
    self._check_target(model, history)
    self._check_trained(model, 'wrapped')
    self._check_kernels(model, expected())
    x, _ = self._data()
    outputs = predict(model, x)
    tolerance = 1e-4 if self.pruning.policy == 'float32' else 2e-2
    if saves and not self.pruning.by_tfmot:
      reloaded = reload(model)
      check_close(outputs, predict(reloaded, x), 'reloaded', tolerance)
      self._check_trained(reloaded, 'reloaded')
      self._check_target(reloaded)
    ticket = tf_unilth.strip_pruning(model)
    if wrappers(ticket):
      raise Wrong(f'strip_pruning left {wrappers(ticket)}.')
    self._check_trained(ticket, 'stripped')
    check_close(outputs, predict(ticket, x), 'stripped', tolerance)
    if self._by_channels:
      is_whole = not (self.pruning.skip or self.pruning.is_silly)
      small = channel_checks.check_shrunk(model, ticket, is_whole)
      check_close(outputs, predict(small, x), 'shrunk', 2 * tolerance)
    if self.pruning.holds and self.drawn.kind != 'subclassed':
      self._check_hold(ticket)

  def _wrapped(self) -> tuple[keras.Model, Callable[[], set[Any]]]:
    """Returns the model, and what returns the kernels that are to be pruned.

    Those are only known when all layers are built.
    """
    pruning = self.pruning
    schedule = pruning.make_schedule()

    def wrap(thing: Any, **arguments: Any) -> Any:
      if pruning.by_tfmot:
        return tfmot.sparsity.keras.prune_low_magnitude(thing, schedule)
      return tf_unilth.prune_low_magnitude(
        thing, schedule, **pruning.structure, **arguments
      )

    drawn = self._make(wrap)
    if drawn.kind == 'subclassed':
      return drawn.model, lambda: kernels(drawn.model)
    if pruning.by_tfmot:
      return wrap(drawn.model), lambda: kernels(drawn.model)
    layers = [
      layer
      for layer in inner_layers(drawn.model)
      if layer.built and random_models.has_kernels(layer)
    ]
    if not layers:
      return wrap(drawn.model), lambda: kernels(drawn.model)
    skipped = [at(layers, place) for place in pruning.skip]
    if len(set(skipped)) == len(layers):
      skipped = []
    targets = {}
    if 'sparsity_m_by_n' not in pruning.structure:
      targets = {at(layers, p).name: t for p, t in pruning.targets.items()}
    for layer in layers:
      if isinstance(layer, keras.Model):
        targets.pop(layer.name, None)  # Only layers can have targets.
    model = wrap(
      drawn.model, skip=[layer.name for layer in skipped], targets=targets
    )
    left = {kernel for layer in skipped for kernel in kernels(layer)}
    return model, lambda: kernels(drawn.model) - left

  def _fit(
    self, model: keras.Model, callbacks: list[Any], **arguments: Any
  ) -> keras.callbacks.History:
    pruning = self.pruning
    model.compile(
      pruning.make_optimizer(),
      keras.losses.SparseCategoricalCrossentropy(from_logits=True),
      **pruning.compiled,
    )
    x, y = self._data()
    batch = pruning.fit['batch_size']
    given = {'x': x, 'y': y, 'batch_size': batch}
    if pruning.data != 'arrays':
      given = {'x': dataset(x, y, batch, pruning.data)}
    return model.fit(**given, callbacks=callbacks, verbose=0, **arguments)

  def _fit_arguments(self) -> dict[str, Any]:
    arguments = {'epochs': self.pruning.fit['epochs']}
    if self.pruning.validation:
      x, y = self._data()
      arguments['validation_data'] = (x, y)
    return arguments

  def _check_target(self, model: keras.Model, history: Any = None) -> None:
    """Raises unless a trained model is at its target, as its logs say."""
    if self._by_channels:
      channel_checks.check_target(model, self.pruning.schedule, history)
      return
    check_sparsity(model, self._targets)
    if history:
      check_logs(model, history)

  def _check_kernels(self, model: keras.Model, expected: set[Any]) -> None:
    """Raises if other weights are wrapped than the kernels."""
    found = {
      bare(weight).ref()
      for weight, *_ in pruned(model)
      # Whole channels go with their biases.
      if not self._by_channels or base_name(weight) in KERNELS
    }
    whole = not self.pruning.structure and not self.pruning.by_tfmot
    missing, more = expected - found, found - expected
    if more or (whole and missing):
      raise Wrong(
        f'kernels that are not pruned: {names(missing)}; pruned, but not '
        f'kernels: {names(more)}'
      )

  def _check_trained(self, model: keras.Model, what: str) -> None:
    """Raises if other weights are trained than without pruning."""
    found = shapes(model.trainable_weights)
    if found != self._trained:
      raise Wrong(f'{what}: {found} are trained instead of {self._trained}.')

  def _check_hold(self, ticket: keras.Model) -> None:
    """Raises if training a ticket gives weights back."""
    before = {ref: ref.deref().numpy() == 0 for ref in kernels(ticket)}
    model = tf_unilth.prune_low_magnitude(ticket, tf_unilth.FixedMask())
    with contextlib.redirect_stdout(io.StringIO()):
      self._fit(model, [tf_unilth.UniLTH(patience=None)], epochs=3)
    for ref, zeros in before.items():
      if ref.deref().numpy()[zeros].any():
        raise Wrong(f'FixedMask gave weights of {names([ref])} back.')


def dataset(x: Any, y: Any, batch: int, kind: str) -> tf.data.Dataset:
  """Returns arrays, or lists of them, in batches.

  Args:
    x: inputs.
    y: labels.
    batch: examples in a batch.
    kind: 'generator' for data that do not tell their length.
  """
  data = tuple(tuple(z) if isinstance(z, list) else z for z in (x, y))
  batches = tf.data.Dataset.from_tensor_slices(data).batch(batch)
  if kind == 'generator':  # After a filter the length is unknown.
    batches = batches.filter(lambda *_: True)
  return batches


def at(items: list[Any], place: float) -> Any:
  """Returns the item at a place in [0, 1) of a list."""
  return items[int(place * len(items))]


def names(references: Any) -> list[str]:
  return sorted(ref.deref().name for ref in references)


def shapes(weights: list[Any]) -> list[tuple[int, ...]]:
  return sorted(tuple(weight.shape) for weight in weights)
