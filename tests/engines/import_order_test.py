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


@pytest.mark.long
@pytest.mark.parametrize(
  ('imports', 'legacy'),
  [
    ('tf_unilth, tensorflow_model_optimization, tf_keras as K', ''),
    ('tf_unilth, tensorflow as tf; K = tf.keras', '1'),
  ],
)
def test_files_load_in_each_order(imports, legacy):
  # More orders are below, and in older_files_test.py.
  program = f'import {imports}\n{_LOAD}'
  import_order.run(program, TF_USE_LEGACY_KERAS=legacy)


@pytest.mark.long
def test_a_failed_import_can_be_repeated_and_a_module_reloaded():
  program = """
import importlib, tf_unilth
try:
  import tf_keras
except ModuleNotFoundError:
  PathFinder.find_spec = find  # It is installed now.
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
    "No module named 'tensorflow_model_optimization'"
  )


@pytest.mark.long
@pytest.mark.parametrize('order', ['tf_keras keras', 'keras tf_keras'])
def test_classes_are_accepted_by_both_kerases(order):
  program = f"""
from tests.testing import both_kerases
both_kerases.main(*{order.split()})
import tf_keras as K
"""
  import_order.run(program + _LOAD)
