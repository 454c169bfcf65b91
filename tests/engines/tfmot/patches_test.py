"""All that a run sets on foreign objects is in the table, and taken back."""

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines import patches
from tf_unilth.engines.tfmot import callback_list, fit_introspection


class _Own(keras.Model):
  """A subclassed model, which strip_pruning changes in place."""

  def __init__(self):
    super().__init__()
    self.flatten = keras.layers.Flatten()
    self.dense = tf_unilth.prune_low_magnitude(
      keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.9)
    )

  def call(self, inputs):
    return self.dense(self.flatten(inputs))


def _model():
  model = _Own()
  model(toys.data()[0])
  return toys.compiled_for_labels(model)


def _objects(model):
  """Returns the objects of each kind of owner."""
  wrappers = [
    layer for layer in model._flatten_layers() if hasattr(layer, 'pruning_obj')
  ]
  fit = fit_introspection.fit_context()
  return {
    'model': [model],
    'optimizer': [model.optimizer],
    'kernel': [
      wrapper.layer.kernel
      for wrapper in wrappers
      if hasattr(wrapper.layer, 'kernel')
    ],
    'wrapper': wrappers,
    'pruning object': [wrapper.pruning_obj for wrapper in wrappers],
    'callback list': [fit.callback_list] if fit.is_fit else [],
    'data handler': [fit.data_handler] if fit.is_fit else [],
  }


def _set_by_us(thing):
  """Returns the attributes of an instance that are functions of ours."""
  found = []
  for name, value in vars(thing).items():
    function = getattr(value, 'func', getattr(value, '__func__', value))
    module = getattr(function, '__module__', None) or ''
    is_function = hasattr(function, '__code__')
    if hasattr(value, patches._MARK) or (
      is_function and module.startswith('tf_unilth')
    ):
      found.append(name)
  return found


def _patched(model):
  """Returns all that is set by us, with the kind of its owner."""
  found = set()
  for owner, things in _objects(model).items():
    for thing in things:
      found |= {(owner, name) for name in _set_by_us(thing)}
      # The list is no function: it has a callback more.
      if owner == 'callback list' and len(thing.callbacks) > 3:
        found.add((owner, 'callbacks'))
  # Keras makes it from the step and the function above it.
  return found - {('model', 'test_function')}


def _marked(thing):
  return [n for n, v in vars(thing).items() if hasattr(v, patches._MARK)]


class _Look(keras.callbacks.Callback):
  def __init__(self):
    super().__init__()
    self.seen = set()
    self.lists = []
    self.handlers = []

  def on_epoch_begin(self, epoch, logs=None):
    self.seen |= _patched(self.model)
    fit = fit_introspection.fit_context()
    self.lists.append(fit.callback_list)
    self.handlers.append(fit.data_handler)


_NAMES = {
  lasts: {
    (p.owner, p.attribute)
    for p in patches.TABLE
    if p.lasts == lasts and p.owner != 'wrapped model'
  }
  for lasts in (patches.RUN, patches.LASTING)
}


def test_the_table_lists_all_that_a_run_sets_and_each_is_taken_back():
  model, look = _model(), _Look()
  assert not _patched(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), look)
  assert look.seen == _NAMES[patches.RUN] | _NAMES[patches.LASTING]
  assert _patched(model) == _NAMES[patches.LASTING]
  assert all(len(each.callbacks) == 3 for each in look.lists)
  # Also of what has lived longer than its `fit`.
  assert not any(_set_by_us(handler) for handler in look.handlers)
  kept = _objects(model)
  tf_unilth.strip_pruning(model)
  for owner in ('model', 'wrapper', 'pruning object', 'optimizer'):
    assert not any(_marked(thing) for thing in kept[owner]), owner


def test_a_run_that_died_takes_its_patches_back():
  model = _model()
  die = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: 1 / 0)
  with (
    pytest.raises(ZeroDivisionError),
    pytest.warns(UserWarning, match='NOT met'),
  ):
    toys.fit(model, tf_unilth.UniLTH(verbose=0), die)
  assert _patched(model) == _NAMES[patches.LASTING]


def test_a_list_of_callbacks_that_is_passed_again_does_not_grow():
  callback = tf_unilth.LTH(verbose=0)
  callbacks = keras.callbacks.CallbackList(
    [callback], add_history=True, model=_model(), epochs=4, steps=8, verbose=0
  )
  for _ in range(2):
    x, y = toys.data()
    callbacks.model.fit(
      x, y, batch_size=8, epochs=4, verbose=0, callbacks=callbacks
    )
    assert len(callbacks.callbacks) == 2


def test_the_list_is_replaced_since_keras_may_iterate_over_it():
  kept = keras.callbacks.CallbackList([keras.callbacks.History()])
  before, last = kept.callbacks, keras.callbacks.Callback()
  callback_list.add_last(kept, last)
  assert last not in before and kept.callbacks == [*before, last]
  after = kept.callbacks
  callback_list.remove(kept, last)
  assert last in after and kept.callbacks == before


def test_what_was_there_before_is_restored():
  model = _model()
  wrapper = model.dense
  own = wrapper.get_config
  wrapper.get_config = lambda: own()
  mine = wrapper.get_config
  toys.fit(model, tf_unilth.DLTH(verbose=0))
  toys.fit(model, tf_unilth.DLTH(verbose=0))
  assert wrapper.get_config is not mine
  patches.take_back(wrapper)
  assert wrapper.get_config is mine


def test_what_is_patched_twice_is_restored_in_reverse_order():
  model = keras.Sequential()
  before = lambda data: data  # noqa: E731
  model.train_step = before
  with patches.Patches() as both:
    both.set('model', model, 'train_step', lambda data: 1)
    both.set('model', model, 'train_step', lambda data: 2)
    assert model.train_step(0) == 2
  assert model.train_step is before


def test_only_what_the_table_lists_can_be_set():
  class Thing:
    pass

  with pytest.raises(KeyError):
    patches.Patches().set('model', Thing(), 'predict', lambda: None)
  with pytest.raises(KeyError):
    patches.set_lasting('model', Thing(), 'predict', lambda: None)


def test_a_model_that_was_wrapped_whole_checks_what_it_is_compiled_with():
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.9)
  )
  rows = [p.attribute for p in patches.TABLE if p.owner == 'wrapped model']
  assert _marked(model) == rows
  patches.take_back(model)
  assert not set(rows) & set(vars(model))


def test_tfmots_own_wrapper_is_patched_alike():
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.9))
  look = _Look()
  toys.fit(model, tf_unilth.UniLTH(verbose=0), look)
  assert look.seen == _NAMES[patches.RUN] | _NAMES[patches.LASTING]
  stripped = tfmot.sparsity.keras.strip_pruning(model)
  assert np.isfinite(stripped.predict(toys.data()[0], verbose=0)).all()
