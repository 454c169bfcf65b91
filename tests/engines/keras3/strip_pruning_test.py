"""strip_pruning on Keras 3: a plain Keras model, and files that are plain."""

import functools
import json

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import import_order, keras_3_toys, toys
from tf_unilth.engines import patches
from tf_unilth.engines.keras3 import optimizer_traits, pruning_plan

pytestmark = pytest.mark.keras3
layers = keras.layers
_BACKEND = keras.backend.backend()


def _schedule(target=0.8):
  return tf_unilth.IterativeSparsity(target)


def _fit(model, *callbacks, epochs=4, **arguments):
  x, y = toys.data()
  model.fit(
    x,
    y,
    batch_size=8,
    epochs=epochs,
    validation_data=(x, y),
    shuffle=False,
    callbacks=callbacks,
    verbose=0,
    **arguments,
  )


def _optimizer(kind='sgd'):
  if kind == 'staged':
    rate = tf_unilth.StagedLearningRate(0.05, 'linear', decay_steps=32)
    return keras.optimizers.SGD(rate, momentum=0.9)
  if kind == 'adam':
    return keras.optimizers.Adam(1e-3)
  if kind == 'scaled':
    inner = keras.optimizers.SGD(0.05, momentum=0.9)
    return keras.optimizers.LossScaleOptimizer(inner)
  return keras.optimizers.SGD(0.05, momentum=0.9)


# Nothing of ours is left.


def _attributes(model):
  """Returns what the objects that we patch have as attributes of their own."""
  inner = optimizer_traits.inner(model.optimizer)
  things = {'model': model, 'optimizer': model.optimizer, 'inner': inner}
  return {name: dict(vars(thing)) for name, thing in things.items()}


def _is_ours(value):
  """Returns whether a value, or a function behind it, is of the library."""
  behind = getattr(value, '__func__', value)
  owners = [type(value), behind, type(getattr(value, '__self__', None))]
  modules = [getattr(owner, '__module__', None) or '' for owner in owners]
  return any(module.startswith('tf_unilth') for module in modules)


def _fit_without_callback(model):
  _fit(model, tf_unilth.UniLTH(verbose=0))
  _fit(model, epochs=1)


_TRAININGS = {
  'never trained': lambda model: None,
  'by fit': lambda model: _fit(model, tf_unilth.UniLTH(verbose=0)),
  'by fit and train_on_batch': lambda model: (
    _fit(model, tf_unilth.DLTH(verbose=0)),
    model.train_on_batch(*toys.data()),
  ),
  'again without a callback': _fit_without_callback,
}


@pytest.mark.filterwarnings('ignore:strip_pruning')
@pytest.mark.parametrize(
  ('kind', 'training'),
  [
    ('sgd', 'never trained'),
    ('staged', 'never trained'),
    ('sgd', 'by fit'),
    ('staged', 'by fit and train_on_batch'),
    ('scaled', 'again without a callback'),
  ],
)
def test_no_attribute_of_ours_is_left(training, kind):
  model = keras_3_toys.compiled_for_labels(
    keras_3_toys.dense(), _optimizer(kind)
  )
  plain = _attributes(model)
  tf_unilth.prune_low_magnitude(model, _schedule())
  _TRAININGS[training](model)
  planned = _attributes(model)
  rows = [row for row in patches.TABLE if row.lasts == patches.PLANNED]
  on_model = {r.attribute for r in rows if r.owner == 'Keras 3 model'}
  on_optimizer = {r.attribute for r in rows if r.owner == 'Keras 3 optimizer'}
  # While it is planned, the table names all that is ours.
  ours = {n for n, value in planned['model'].items() if _is_ours(value)}
  assert '_pruning_plan' in ours and ours <= on_model
  for name in ('optimizer', 'inner'):
    ours = {n for n, value in planned[name].items() if _is_ours(value)}
    assert ours - {'_learning_rate'} <= on_optimizer
  stripped = tf_unilth.strip_pruning(model)
  assert stripped is model and pruning_plan.plan_of(model) is None
  after = _attributes(model)
  for name, attributes in after.items():
    found = {n for n, value in attributes.items() if _is_ours(value)}
    assert not found
    # What Keras itself sets when it trains is Keras's.
    patched = on_model if name == 'model' else on_optimizer - {'_variables'}
    for attribute in patched:
      assert attributes.get(attribute) is plain[name].get(attribute)
  # The optimizer's variables are its own, each once.
  variables = [v.path for v in model.optimizer.variables]
  assert len(set(variables)) == len(variables)
  same = 'sgd' if kind == 'staged' else kind
  fresh = keras_3_toys.compiled_for_labels(
    keras_3_toys.dense(), _optimizer(same)
  )
  if model.optimizer.built:
    fresh.optimizer.build(fresh.trainable_variables)
    assert [tuple(v.shape) for v in model.optimizer.variables] == [
      tuple(v.shape) for v in fresh.optimizer.variables
    ]


def test_a_users_own_attributes_come_back():
  model = keras_3_toys.compiled_for_labels(keras_3_toys.dense(), _optimizer())
  calls = []
  own_fit, own_apply = model.fit, model.optimizer.apply

  @functools.wraps(own_fit)
  def fit(*args, **kwargs):
    calls.append('fit')
    return own_fit(*args, **kwargs)

  def apply(*args, **kwargs):
    calls.append('apply')
    return own_apply(*args, **kwargs)

  model.fit, model.optimizer.apply = fit, apply
  tf_unilth.prune_low_magnitude(model, _schedule())
  _fit(model, tf_unilth.DLTH(verbose=0))
  assert {'fit', 'apply'} <= set(calls)
  tf_unilth.strip_pruning(model)
  assert model.fit is fit and model.optimizer.apply is apply


def test_a_stripped_model_trains_as_a_plain_one():
  found = []
  for is_stripped in (False, True):
    keras.utils.set_random_seed(3)
    model = keras_3_toys.dense()
    if is_stripped:
      tf_unilth.prune_low_magnitude(model, _schedule())
      with pytest.warns(UserWarning, match='strip_pruning.*is dense'):
        tf_unilth.strip_pruning(model)
    keras_3_toys.compiled_for_labels(model, _optimizer())
    _fit(model, epochs=2)
    found.append(model.get_weights())
  for plain, stripped in zip(*found, strict=True):
    np.testing.assert_array_equal(plain, stripped)


def test_pruned_weights_are_zero_whatever_wrote_them():
  model = keras_3_toys.planned(keras_3_toys.dense(), _schedule())
  _fit(model, tf_unilth.UniLTH(verbose=0))
  masks = [mask.copy() for mask in pruning_plan.planned(model).masks]
  for layer in model.layers[1:]:
    layer.kernel.assign(np.ones(layer.kernel.shape))
  tf_unilth.strip_pruning(model)
  for layer, mask in zip(model.layers[1:], masks, strict=True):
    np.testing.assert_array_equal(np.array(layer.kernel), mask)


def test_a_model_without_a_plan_is_returned():
  model = keras_3_toys.dense()
  assert tf_unilth.strip_pruning(model) is model


def test_outputs_are_those_of_the_pruned_model():
  model = keras_3_toys.planned(keras_3_toys.conv(), _schedule())
  _fit(model, tf_unilth.UniLTH(verbose=0))
  x, _ = toys.data()
  before = model.predict(x, verbose=0)
  stripped = tf_unilth.strip_pruning(model)
  np.testing.assert_array_equal(stripped.predict(x, verbose=0), before)


def test_a_fit_with_a_ticket_callback_refuses_it():
  class Strip(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      tf_unilth.strip_pruning(self.model)

  model = keras_3_toys.planned(keras_3_toys.dense(), _schedule())
  with pytest.raises(RuntimeError, match='call strip_pruning after fit'):
    _fit(model, tf_unilth.UniLTH(verbose=0), Strip())


def test_a_staged_rate_becomes_its_present_value():
  model = keras_3_toys.planned(
    keras_3_toys.dense(), _schedule(), _optimizer('staged')
  )
  _fit(model, tf_unilth.LTH(verbose=0))
  iterations = int(model.optimizer.iterations)
  schedule = optimizer_traits.staged_learning_rate(model.optimizer)
  expected = float(schedule(iterations))
  tf_unilth.strip_pruning(model)
  found = keras.ops.convert_to_numpy(model.optimizer.learning_rate)
  assert found == pytest.approx(expected, abs=1e-7)
  model.optimizer.learning_rate = 0.01  # As any number, it may be set.
  _fit(model, epochs=1)


@pytest.mark.parametrize('is_trained', [False, True])
def test_an_optimizer_whose_rate_was_staged_is_whole(is_trained, tmp_path):
  model = keras_3_toys.planned(
    keras_3_toys.dense(), tf_unilth.FixedMask(), _optimizer('staged')
  )
  if is_trained:
    _fit(model, epochs=1)
  tf_unilth.strip_pruning(model)
  _fit(model, epochs=1)  # Builds the optimizer, if nothing has.
  names = [v.path.split('/')[-1] for v in model.optimizer.variables]
  assert names[:2] == ['iteration', 'learning_rate']
  assert len(names) == 2 + 4 and all('momentum' in name for name in names[2:])
  if _BACKEND == 'tensorflow':
    # TensorFlow saves no list in which items were moved.
    model.export(str(tmp_path / 'exported'), verbose=False)


# Files, in processes that do not have the library.

_LOADER = """
import json, sys
import numpy as np
import keras
x, y = (np.load(name) for name in sys.argv[1:3])
found = {}
for path in sys.argv[3:]:
  model = keras.saving.load_model(path)
  first = model.predict(x, verbose=0).tolist()
  kernels = [w for w in model.get_weights() if w.ndim > 1]
  zeros = int(sum((w == 0).sum() for w in kernels))
  iterations = int(model.optimizer.iterations)
  model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
  found[path] = {
    'outputs': first, 'zeros': zeros, 'iterations': iterations,
    'then': int(model.optimizer.iterations),
    'trained': model.predict(x, verbose=0).tolist(),
  }
print(json.dumps(found))
"""


def _load_elsewhere(folder, paths):
  """Loads and trains models where the library cannot be imported."""
  x, y = toys.data()
  np.save(folder / 'x.npy', x)
  np.save(folder / 'y.npy', y)
  names = [str(folder / 'x.npy'), str(folder / 'y.npy'), *map(str, paths)]
  program = f'import sys\nsys.argv = {["", *names]!r}\n{_LOADER}'
  printed = import_order.run(program, ('tf_unilth',), KERAS_BACKEND=_BACKEND)
  return json.loads(printed.splitlines()[-1])


class _Save(keras.callbacks.Callback):
  """Saves in mid-training, with what a loaded model is compared to."""

  def __init__(self, path, epoch):
    super().__init__()
    self._path, self._epoch = path, epoch

  def on_epoch_end(self, epoch, logs=None):
    if epoch == self._epoch:
      self.model.save(self._path)


@pytest.mark.long
def test_files_load_and_train_on_without_the_library(tmp_path):
  x, _ = toys.data()
  expected = {}
  # In the middle of fit: the plan is on the model. Then stripped after it.
  for kind in ('adam', 'staged'):
    model = keras_3_toys.planned(
      keras_3_toys.dense(), _schedule(), _optimizer(kind)
    )
    path = tmp_path / f'{kind}.keras'
    save = _Save(tmp_path / f'{kind}_in_fit.keras', 2)
    _fit(model, tf_unilth.UniLTH(verbose=0), save)
    tf_unilth.strip_pruning(model)
    model.save(path)
    summary = tf_unilth.sparsity_summary(model)
    expected[path] = {
      'outputs': model.predict(x, verbose=0),
      'zeros': summary.zeros,
      'iterations': int(model.optimizer.iterations),
    }
    _fit(model, epochs=1)
    expected[path]['trained'] = model.predict(x, verbose=0)
  unstripped = [tmp_path / 'adam_in_fit.keras']
  found = _load_elsewhere(tmp_path, [*expected, *unstripped])
  for path, wanted in expected.items():
    loaded = found[str(path)]
    assert loaded['zeros'] == wanted['zeros'] > 0
    assert loaded['iterations'] == wanted['iterations'] > 0
    assert loaded['then'] == wanted['iterations'] + toys.STEPS
    np.testing.assert_allclose(
      loaded['outputs'], wanted['outputs'], rtol=1e-5, atol=1e-6
    )
    # Momentum and rate went along.
    np.testing.assert_allclose(
      loaded['trained'], wanted['trained'], rtol=1e-3, atol=1e-4
    )
  for path in unstripped:
    loaded = found[str(path)]
    assert loaded['iterations'] == 3 * toys.STEPS
    assert loaded['then'] == 4 * toys.STEPS


_WITHOUT_TENSORFLOW = """
import sys, warnings
import numpy as np
import keras, tf_unilth
assert keras.backend.backend() == 'jax'
k = keras.layers
model = keras.Sequential(
  [k.Input((6,)), k.Dense(8, activation='relu'), k.Dense(2)]
)
model = tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
rate = tf_unilth.StagedLearningRate(0.05)
model.compile(keras.optimizers.SGD(rate, momentum=0.9), 'mse')
x = np.random.default_rng(0).normal(size=(32, 6)).astype('float32')
y = np.stack([x.sum(1), x[:, 0]], 1)
run = tf_unilth.UniLTH(verbose=0)
model.fit(
  x, y, batch_size=8, epochs=6, validation_data=(x, y), callbacks=[run],
  verbose=0)
assert run.reached_target
model = tf_unilth.strip_pruning(model)
summary = tf_unilth.sparsity_summary(model)
assert (summary.zeros, summary.total_weights) == (32, 64), summary
model.save(PATH)
loaded = keras.saving.load_model(PATH)
assert tf_unilth.sparsity_summary(loaded) == summary
np.testing.assert_allclose(
  model.predict(x, verbose=0), loaded.predict(x, verbose=0), atol=1e-6)
tf_unilth.prune_low_magnitude(loaded, tf_unilth.FixedMask())
loaded.fit(x, y, epochs=1, verbose=0)
assert tf_unilth.sparsity_summary(tf_unilth.strip_pruning(loaded)).zeros == 32
for function in (tf_unilth.shrink, tf_unilth.shrink_report):
  try:
    function(loaded)
    print('no error')
  except TypeError as error:
    assert 'That is Keras 3, but tf_keras is needed here' in str(error), error
unwanted = {'tensorflow', 'tf_keras', 'tensorflow_model_optimization'}
print('loaded', sorted(unwanted & sys.modules.keys()))
"""


@pytest.mark.skipif(_BACKEND != 'jax', reason='needs the JAX backend')
def test_jax_needs_no_tensorflow(tmp_path):
  program = f'PATH = {str(tmp_path / "model.keras")!r}\n{_WITHOUT_TENSORFLOW}'
  blocked = ('tensorflow', 'tf_keras', 'tensorflow_model_optimization')
  printed = import_order.run(program, blocked, KERAS_BACKEND='jax')
  assert printed.splitlines()[-1] == 'loaded []'
