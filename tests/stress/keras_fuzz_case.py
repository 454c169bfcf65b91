"""One case of the model fuzz test with a Keras 3 model, from end to end."""

import contextlib
import gc
import io
import tempfile
import time
import warnings
from typing import Any

import keras
import numpy as np

import tf_unilth
from tests import conftest
from tests.stress.fuzz_case import (
  FAILED,
  REFUSED,
  TRAINED,
  Row,
  at,
  dataset,
)
from tests.stress.fuzz_errors import error_text, is_documented
from tests.stress.model_checks import Wrong, check_close
from tests.testing import random_keras_3_models, random_pruning
from tests.testing.draw import Draw
from tf_unilth.engines.keras3 import backend_values, layer_tree
from tf_unilth.selection import unit

_ATTEMPTS = 50
_ALARMS = ('other weights or masks were put', 'NOT met')


def run(seed: int, index: int) -> Row:
  """Runs the case of a seed and an index."""
  keras.config.disable_traceback_filtering()
  conftest.prepare_for_short_runs()
  # Keras collects garbage for each model, and would look through all packages.
  gc.freeze()
  begin = time.perf_counter()
  row = Row(seed, index, backend=keras.backend.backend())
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    for attempt in range(_ATTEMPTS):
      case = _Case((seed, index, attempt))
      if not case.control():
        row.discarded += 1
        continue
      row.kind, row.layers = case.drawn.kind, case.drawn.layers
      row.pruning = str(case.pruning)
      try:
        case.run()
        row.outcome = TRAINED
      except Exception as error:
        row.outcome = REFUSED if is_documented(error) else FAILED
        row.text = error_text(error, row.outcome == FAILED)
      break
  _clear()
  row.seconds = round(time.perf_counter() - begin, 1)
  return row


def _clear() -> None:
  keras.backend.clear_session()  # It collects garbage.
  keras.config.set_dtype_policy('float32')


class _Case:
  """A model and how it is pruned, drawn from a seed.

  Args:
    seed: whole numbers.
  """

  def __init__(self, seed: tuple[int, ...]):
    self._seed = seed
    self.pruning = random_pruning.make(Draw(*seed, 0))
    self.drawn: Any = None

  def _make(self) -> Any:
    _clear()
    keras.config.set_dtype_policy(self.pruning.policy)
    keras.utils.set_random_seed(sum(self._seed))
    return random_keras_3_models.make(Draw(*self._seed, 1))

  def _data(self) -> tuple[Any, Any]:
    return self.drawn.data(Draw(*self._seed, 2), self.pruning.count)

  def _optimizer(self) -> Any:
    name = self.pruning.optimizer.rpartition('.')[2]
    rate = self.pruning.rate
    if isinstance(rate, str):
      rate = tf_unilth.StagedLearningRate(0.002)
    if name in ('SGD', 'Momentum'):
      return keras.optimizers.SGD(rate, 0.9 if name == 'Momentum' else 0.0)
    return getattr(keras.optimizers, name)(rate)

  def _compiled(self, eagerly: bool) -> dict[str, Any]:
    """Returns how a step runs; eager, it needs no time to be traced."""
    backend = keras.backend.backend()
    if backend == 'torch':
      return {}
    if eagerly:
      return {'run_eagerly': backend == 'tensorflow', 'jit_compile': False}
    # As for a user on JAX; on TensorFlow, XLA takes longer than it saves.
    jit = 'auto' if backend == 'jax' else False
    return {'jit_compile': jit, **self.pruning.compiled}

  def _fit(
    self, model: Any, *callbacks: Any, eagerly: bool = False, **arguments: Any
  ) -> Any:
    model.compile(
      self._optimizer(),
      keras.losses.SparseCategoricalCrossentropy(from_logits=True),
      **self._compiled(eagerly),
    )
    x, y = self._data()
    batch = self.pruning.fit['batch_size']
    if self.pruning.validation:
      arguments['validation_data'] = x, y
    given = {'x': x, 'y': y, 'batch_size': batch}
    if self.pruning.data != 'arrays':
      given = {'x': dataset(x, y, batch, self.pruning.data)}
    return model.fit(**given, verbose=0, callbacks=list(callbacks), **arguments)

  def control(self) -> bool:
    """Returns whether Keras can train the model without pruning."""
    try:
      self.drawn = self._make()
      self._fit(self.drawn.model, epochs=1, eagerly=True)
      return all(np.isfinite(out).all() for out in self._predict())
    except Exception:
      return False

  def _predict(self, model: Any = None) -> list[np.ndarray]:
    x, _ = self._data()
    outputs = (model or self.drawn.model)(x, training=False)
    return [
      np.array(keras.ops.convert_to_numpy(keras.ops.cast(out, 'float32')))
      for out in keras.tree.flatten(outputs)
    ]

  def run(self) -> None:
    """Prunes, and checks all that the library promises."""
    self.drawn = self._make()
    model, pruning = self.drawn.model, self.pruning
    trained = len(model.trainable_variables)
    skipped, targets = self._chosen(model)
    model = tf_unilth.prune_low_magnitude(
      model,
      tf_unilth.IterativeSparsity(**pruning.schedule),
      **pruning.structure,
      skip=[layer.name for layer in skipped],
      targets=targets,
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
      callback = getattr(tf_unilth, pruning.algorithm)(**pruning.callback)
      history = self._fit(model, callback, epochs=pruning.fit['epochs'])
    for alarm in _ALARMS:
      if alarm in said.getvalue():
        raise Wrong(f'the callback said: {said.getvalue()}')
    self._check_kernels(model, skipped)
    self._check_masks(model, history.history['sparsity'][-1])
    outputs = self._predict(model)
    masks = [mask.copy() for mask in model._pruning_plan.masks]
    kernels = [kernel.variable for kernel in model._pruning_plan.kernels]
    ticket = tf_unilth.strip_pruning(model)
    if len(ticket.trainable_variables) != trained:
      raise Wrong('strip_pruning changed what is trained.')
    check_close(outputs, self._predict(ticket), 'stripped')
    if self.drawn.kind != 'subclassed':
      check_close(outputs, self._predict(_reload(ticket)), 'reloaded')
    if pruning.holds and any(not mask.all() for mask in masks):
      held = tf_unilth.prune_low_magnitude(ticket, tf_unilth.FixedMask())
      self._fit(held, epochs=2)
      for kernel, mask in zip(kernels, masks, strict=True):
        if backend_values.read(kernel)[~mask].any():
          raise Wrong('FixedMask gave weights back.')

  def _chosen(self, model: Any) -> tuple[list[Any], dict[str, float]]:
    """Returns the layers to skip, and the targets of some others."""
    layers = [layer for layer in model.layers if _kernels(layer)]
    if not layers:
      return [], {}
    skipped = [at(layers, place) for place in self.pruning.skip]
    if len({layer.name for layer in skipped}) == len(layers):
      skipped = []
    if 'sparsity_m_by_n' in self.pruning.structure:
      return skipped, {}
    targets = {at(layers, p): t for p, t in self.pruning.targets.items()}
    return skipped, {
      layer.name: target
      for layer, target in targets.items()
      # Only layers can have targets, and only those that are pruned.
      if not isinstance(layer, keras.Model) and layer not in skipped
    }

  def _check_kernels(self, model: Any, skipped: list[Any]) -> None:
    """Raises if other weights are pruned than the kernels."""
    left = {id(variable) for layer in skipped for variable in layer.weights}
    expected = {id(variable) for variable in _kernels(model)} - left
    found = {id(kernel.variable) for kernel in model._pruning_plan.kernels}
    whole = not self.pruning.structure
    if found - expected or (whole and expected - found):
      raise Wrong(
        f'{len(found)} kernels are pruned, of {len(expected)}, and '
        f'{len(found - expected)} others.'
      )

  def _check_masks(self, model: Any, logged: float) -> None:
    """Raises unless the model is at its targets, to the weight."""
    plan, pruning = model._pruning_plan, self.pruning
    allowed = {pruning.schedule['target_sparsity'], *pruning.targets.values()}
    zeros = total = 0
    for schedule in plan.schedules:
      if schedule.target_sparsity not in allowed:
        raise Wrong(f'a target became {schedule.target_sparsity}.')
      units = cut = 0
      for kernel, mask in zip(plan.kernels, plan.masks, strict=True):
        if kernel.schedule is not schedule:
          continue
        if backend_values.read(kernel.variable)[~mask].any():
          raise Wrong(f'{kernel.name} has pruned weights that are not 0.')
        pooled = kernel.structure.mask_to_units(mask)
        units, cut = units + pooled.size, cut + int(np.sum(~pooled))
        zeros, total = zeros + int(np.sum(~mask)), total + mask.size
        if kernel.structure == unit.Single() and pooled.size != mask.size:
          raise Wrong(f'{kernel.name} is not counted by weights.')
      share = schedule.target_sparsity
      if 'sparsity_m_by_n' in pruning.structure:
        share = 1.0 if share else 0.0
      if cut != round(share * units):
        raise Wrong(
          f'{cut} of {units} are pruned instead of {round(share * units)}.'
        )
    if abs(logged - zeros / total) > 1e-6:
      raise Wrong(f'the logs say {logged}, but it is {zeros / total}.')


def _kernels(layer: Any) -> list[Any]:
  """Returns the weights that are to be pruned, by what Keras calls them."""
  depthwise = {
    id(variable)
    for inside in layer_tree.inside(layer)
    if isinstance(inside, keras.layers.DepthwiseConv2D)
    for variable in inside.weights
  }
  return [
    variable
    for variable in layer.trainable_variables
    if variable.path.split('/')[-1] in random_keras_3_models.KERNELS
    and len(variable.shape) > 1
    and id(variable) not in depthwise
  ]


def _reload(model: Any) -> Any:
  with tempfile.TemporaryDirectory() as folder:
    model.save(f'{folder}/model.keras')
    return keras.models.load_model(f'{folder}/model.keras')
