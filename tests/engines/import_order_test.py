"""Classes that two Kerases accept, in each order of import."""

import pathlib

import pytest

from tests.testing import import_order

_FOLDER = sorted((pathlib.Path(__file__).parents[1] / 'fixtures').iterdir())[0]
_FRAMEWORKS = (
  *('tensorflow', 'tf_keras', 'tensorflow_model_optimization'),
  *('keras', 'jax', 'torch'),
)
_LOAD = f"""
model = K.models.load_model({str(_FOLDER / 'unilth-3.keras')!r})
assert sum('Prune' in type(layer).__name__ for layer in model.layers) == 3
"""
_RATE = '''
import numpy as np
def made():
  return tf_unilth.StagedLearningRate(0.1, decay_steps=100)
def trained(rate, K):
  """Returns the rate of change of a weight before and after a restart."""
  model = K.Sequential([K.layers.Dense(1, use_bias=False)])
  model.build((None, 1))
  model.set_weights([np.zeros((1, 1))])
  # Its gradient is -1 everywhere.
  model.compile(K.optimizers.SGD(rate), lambda y_true, y_pred: y_true - y_pred)
  x = np.ones((1, 1), 'float32')
  def step():
    before = model.get_weights()[0].item()
    model.fit(x, x, verbose=0)
    return round(model.get_weights()[0].item() - before, 5)
  steps = [step(), step()]
  rate.restart(begin=2, steps=1)
  steps += [step(), step()]
  copied = K.optimizers.SGD.from_config(model.optimizer.get_config())
  assert copied._learning_rate.get_config() == rate.get_config()
  rate.restart(begin=0, steps=100)
  return steps
'''

_BOTH_ORDERS = pytest.mark.parametrize(
  'order',
  ['tf_keras keras', pytest.param('keras tf_keras', marks=pytest.mark.long)],
)


def test_importing_the_library_imports_no_framework():
  program = 'import tf_unilth; print(*sys.modules)'
  imported = import_order.run(program).split()
  assert 'tf_unilth' in imported
  assert not set(_FRAMEWORKS) & set(imported)


@pytest.mark.parametrize('backend', ['jax', 'torch', 'tensorflow'])
def test_schedules_need_no_framework(backend):
  program = """
import copy, pickle, tf_unilth
schedules = [
  tf_unilth.IterativeSparsity(0.9, rounds=3), tf_unilth.FixedMask(),
  tf_unilth.L2Ramp(), tf_unilth.StagedLearningRate(0.1, decay_steps=10),
]
for schedule in schedules:
  for copied in (
    copy.copy(schedule), copy.deepcopy(schedule),
    pickle.loads(pickle.dumps(schedule)),
  ):
    assert type(copied) is type(schedule)
    assert repr(vars(copied)) == repr(vars(schedule))
print(schedules[0].sparsity_at(3, 3, 'cubic'), round(float(schedules[3](5)), 6))
print(tf_unilth.L2Ramp(0.5).coefficient(5, 0.5, 10))
"""
  printed = import_order.run(program, _FRAMEWORKS, KERAS_BACKEND=backend)
  assert printed.split() == ['0.9', '0.05', '0.25']


@pytest.mark.parametrize('backend', ['jax', 'torch'])
def test_ticket_callbacks_need_no_framework(backend):
  program = """
import copy, tf_unilth
for callback in (
  tf_unilth.LTH(rewind_step=5), tf_unilth.DLTH(seed=1),
  tf_unilth.UniLTH(patience=3), tf_unilth.UniDLTH(pretrained=True),
):
  assert copy.deepcopy(callback).settings == callback.settings
  assert callback.penalty() == 0.0
print(tf_unilth.UniDLTH().seed)
"""
  assert import_order.run(program, _FRAMEWORKS, KERAS_BACKEND=backend) == '0'


def test_ticket_callbacks_are_accepted_by_both_lists_of_callbacks():
  program = """
import numpy as np, tf_unilth
made = [tf_unilth.LTH(), tf_unilth.DLTH(), tf_unilth.UniLTH()]
import keras, tf_keras
for K in (keras, tf_keras):
  model = K.Sequential([K.layers.Input((2,)), K.layers.Dense(1)])
  model.compile('sgd', 'mse')
  for callback in (*made, tf_unilth.UniDLTH()):
    callbacks = K.callbacks.CallbackList([callback], add_history=True)
    # All hooks of this Keras but those of a run.
    for name in dir(K.callbacks.Callback):
      if name.startswith(('on_test', 'on_predict')):
        arguments = (0, {}) if 'batch' in name else ({},)
        getattr(callbacks, name)(*arguments)
  try:
    x = np.ones((1, 2))
    model.fit(x, x[:, 0], callbacks=[tf_unilth.LTH()], verbose=0)
    raise AssertionError('accepted')
  except (TypeError, ValueError) as error:
    print(type(error).__name__, str(error)[:30])
"""
  assert import_order.run(program).splitlines() == [
    "ValueError model 'sequential' was not pas",
    'ValueError model has no wrapped layer: wr',
  ]


@pytest.mark.long
@pytest.mark.parametrize(
  ('imports', 'legacy'),
  [
    ('tf_unilth, tensorflow_model_optimization, tf_keras as K', ''),
    ('tf_unilth, keras, tf_keras as K', ''),
    ('tf_unilth, tensorflow as tf; K = tf.keras', '1'),
  ],
)
def test_files_load_in_each_order(imports, legacy):
  # More orders are in older_files_test.py.
  program = f'import {imports}\n{_LOAD}'
  import_order.run(program, TF_USE_LEGACY_KERAS=legacy)


@pytest.mark.long
def test_a_failed_import_can_be_repeated_and_a_module_reloaded():
  program = """
import importlib, tf_unilth
blocker, = [f for f in sys.meta_path if type(f).__name__ == 'Blocker']
try:
  import tf_keras
except ModuleNotFoundError:
  sys.meta_path.remove(blocker)
import tf_keras as K
assert type(K.__loader__).__module__ == '_frozen_importlib_external'
assert K.__spec__.loader is K.__loader__
importlib.reload(K)
import keras
assert not [f for f in sys.meta_path if 'tf_unilth' in type(f).__module__]
"""
  import_order.run(program + _LOAD, ('tf_keras',))


@pytest.mark.long
@pytest.mark.parametrize(
  'imports', ['tf_unilth, tf_keras', 'tf_keras, tf_unilth']
)
def test_without_tfmot_keras_is_imported_and_a_warning_says_what_is_missing(
  imports,
):
  program = f"""
import warnings
with warnings.catch_warnings(record=True) as caught:
  warnings.simplefilter('always')
  import {imports}
print(*[w.message for w in caught if 'tf_unilth' in str(w.message)])
tf_keras.layers.Dense(2)
"""
  printed = import_order.run(program, ('tensorflow_model_optimization',))
  assert printed == (
    'tf_unilth cannot prune models of tf_keras, nor load their files: '
    'tensorflow_model_optimization is blocked'
  )


@pytest.mark.long
def test_schedules_made_before_tf_keras_are_taken_by_tfmot():
  program = """
import copy, pickle, tf_unilth
schedule = tf_unilth.IterativeSparsity(0.5, begin_step=1)
fixed, pickled = tf_unilth.FixedMask(), pickle.dumps(schedule)
group = schedule.group
import tf_keras as K
import tensorflow_model_optimization as tfmot
for made in (
  schedule, fixed, tf_unilth.IterativeSparsity(0.5, begin_step=1),
  tf_unilth.FixedMask(), pickle.loads(pickled), copy.deepcopy(schedule),
  schedule.with_target(0.1),
):
  assert isinstance(made, tfmot.sparsity.keras.PruningSchedule)
  assert isinstance(made, tf_unilth.IterativeSparsity)
  assert bool(made(1)[0]) == (made.begin_step == 1)
assert type(fixed) is type(tf_unilth.FixedMask())
assert isinstance(fixed, tf_unilth.FixedMask)
assert pickle.loads(pickled).group == schedule.group == group
model = K.Sequential([K.layers.Dense(4, input_shape=(4,)) for _ in range(2)])
for prune in (tfmot.sparsity.keras, tf_unilth):
  wrapped = prune.prune_low_magnitude(model, schedule)
  assert all(layer.pruning_schedule is schedule for layer in wrapped.layers)
"""
  import_order.run(program)


@_BOTH_ORDERS
def test_one_rate_is_accepted_by_both_kerases(order):
  program = f"""
import importlib, tf_unilth
{_RATE}
early, expected = made(), [0.1, 0.09998, 0.1, 0.0]
assert round(float(early(50)), 6) == 0.05
for name in {order.split()}:
  K = importlib.import_module(name)
  for rate in (early, made()):
    assert isinstance(rate, K.optimizers.schedules.LearningRateSchedule)
    assert type(rate) is tf_unilth.StagedLearningRate
    saved = K.saving.serialize_keras_object(rate)
    assert saved['registered_name'] == 'tf_unilth>StagedLearningRate'
    loaded = K.saving.deserialize_keras_object(saved)
    assert type(loaded) is tf_unilth.StagedLearningRate
    assert trained(rate, K) == expected, trained(rate, K)
"""
  import_order.run(program)


_CALLBACKS = """
import copy, pickle
import numpy as np
def made():
  return (
    tf_unilth.TicketEarlyStopping('loss', mode='max', patience=1),
    tf_unilth.TicketCheckpoint('model.weights.h5', save_weights_only=True),
  )
def model_of(K):
  model = K.Sequential([K.layers.Input((1,)), K.layers.Dense(1)])
  model.compile('sgd', 'mse')
  return model
def epochs(model, *callbacks):
  x = np.ones((4, 1), 'float32')
  fitted = model.fit(x, x, epochs=4, verbose=0, callbacks=callbacks)
  return len(fitted.history['loss'])
def check(callback, K, name):
  assert isinstance(callback, getattr(K.callbacks, name)), type(callback)
  assert isinstance(callback, getattr(tf_unilth, type(callback).__name__))
def check_copies(callback):
  for copied in (
    copy.copy(callback), copy.deepcopy(callback),
    pickle.loads(pickle.dumps(callback)),
  ):
    assert type(copied) is type(callback)
    assert vars(copied).keys() == vars(callback).keys()
"""


@pytest.mark.long
@_BOTH_ORDERS
def test_callbacks_are_accepted_by_both_kerases(order, tmp_path):
  program = f"""
import importlib, os, tf_unilth
os.chdir({str(tmp_path)!r})
{_CALLBACKS}
early, unused = made(), list(made())
for callback in early:
  check_copies(callback)
for name in {order.split()}:
  K = importlib.import_module(name)
  for callback in made():
    check_copies(callback)
  K.callbacks.CallbackList(unused)  # It asks for hooks before a model is set.
  for stopping, checkpoint in (early, made()):
    assert epochs(model_of(K), stopping) == 2
    check(stopping, K, 'EarlyStopping')
    model = tf_unilth.prune_low_magnitude(
      model_of(K), tf_unilth.IterativeSparsity(0.0))
    model.compile('sgd', 'mse')
    epochs(model, tf_unilth.UniLTH(verbose=0), stopping, checkpoint)
    assert os.path.exists('model.weights.h5')
    os.remove('model.weights.h5')
    check(checkpoint, K, 'ModelCheckpoint')
# An object goes from one Keras to the other and back.
for name in ('keras', 'tf_keras', 'keras'):
  K = importlib.import_module(name)
  assert epochs(model_of(K), early[0]) == 2
  check(early[0], K, 'EarlyStopping')
try:
  tf_unilth.TicketEarlyStopping(patiense=3)
  raise AssertionError('accepted')
except TypeError as error:
  assert 'patiense' in str(error)
"""
  import_order.run(program)


@pytest.mark.long
def test_callbacks_of_keras_3_need_no_tf_keras():
  program = f"""
import tf_unilth
{_CALLBACKS}
early = made()[0]
import keras as K
for callback in (early, made()[0]):
  assert epochs(model_of(K), callback) == 2
  check(callback, K, 'EarlyStopping')
assert 'tf_keras' not in sys.modules
"""
  import_order.run(program)
