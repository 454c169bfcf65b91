"""The table of `docs/keras3_fit.md`: what `fit` of Keras 3 can do, by backend.

    KERAS_BACKEND=jax python -m tests.documents.keras_3_fit [WORD ...]

Runs the tests that the rows name, or those of them with one of the words in
their names, on the backend of the process, adds their
outcomes to `recipes/results/check/toys/keras_3_fit/keras_3_fit.json`, and
writes the table.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

from recipes.common import files, provenance

_ROOT = pathlib.Path(__file__).parents[2]
RESULTS = (
  _ROOT / 'recipes' / 'results' / 'check' / 'toys' / 'keras_3_fit'
) / 'keras_3_fit.json'
DOCUMENT = _ROOT / 'docs' / 'keras3_fit.md'
BACKENDS = ('tensorflow', 'jax', 'torch')
_FIT = 'tests/integration/keras_3_fit_test.py::test_'
_APPLY = 'tests/engines/keras3/masked_apply_test.py::test_'
_OPTIMIZER = f'{_APPLY}pruned_weights_stay_zero_under_each_optimizer'
_OPTION = f'{_APPLY}pruned_weights_stay_zero_under_each_option'
_POLICY = f'{_APPLY}pruned_weights_stay_zero_in_mixed_precision'
EXACT, FAILED, MISSING = 'exact', 'FAILED', 'not run'


@dataclasses.dataclass(frozen=True)
class Item:
  """A row of the table.

  Args:
    name: what `fit` is given.
    tests: the tests that try it.
    outcome: what it means that they pass.
  """

  name: str
  tests: tuple[str, ...]
  outcome: str = EXACT


ITEMS = (
  Item('`jit_compile="auto"`', (f'{_FIT}jit_compile[auto]',)),
  Item('`jit_compile=True`', (f'{_FIT}jit_compile[True]',)),
  Item('`jit_compile=False`', (f'{_FIT}jit_compile[False]',)),
  Item('`run_eagerly`', (f'{_FIT}run_eagerly',)),
  Item('`steps_per_execution`', (f'{_FIT}steps_per_execution',)),
  Item('`mixed_float16`, with loss scaling', (f'{_POLICY}[mixed_float16]',)),
  Item('`mixed_bfloat16`', (f'{_POLICY}[mixed_bfloat16]',)),
  Item(
    '`gradient_accumulation_steps`',
    (f'{_OPTION}[gradient_accumulation_steps]',),
  ),
  Item('`use_ema`, with overwriting', (f'{_OPTION}[use_ema]',)),
  Item('`clipnorm`', (f'{_OPTION}[clipnorm]',)),
  Item('`weight_decay`', (f'{_OPTION}[weight_decay]',)),
  Item('`nesterov`', (f'{_OPTION}[nesterov]',)),
  *(
    Item(f'`{name}`', (f'{_OPTIMIZER}[{name}]',))
    for name in (
      *('SGD', 'Adam', 'AdamW', 'Nadam', 'RMSprop', 'Adagrad', 'Adadelta'),
      *('Adamax', 'Lion', 'Adafactor', 'Lamb', 'Ftrl', 'Muon'),
      'ScheduleFreeAdamW',
    )
  ),
  Item(
    '`MultiOptimizer`',
    (f'{_APPLY}an_optimizer_with_its_state_in_others_is_refused',),
    'an error: a ticket callback needs a single optimizer',
  ),
  Item(
    'a constraint of a kernel',
    (f'{_APPLY}pruned_weights_stay_zero_under_a_constraint',),
  ),
  Item('`MirroredStrategy`, two devices', (f'{_FIT}mirrored_strategy',)),
  Item('`DataParallel`, two devices', (f'{_FIT}data_parallel',)),
  Item('a `train_step` of your own', (f'{_FIT}a_train_step_of_ones_own',)),
  Item(
    'an optimizer of your own in it',
    (f'{_FIT}an_optimizer_of_ones_own_is_refused',),
    'an error: `train_step` must use the optimizer of the model',
  ),
  Item(
    '`trainable` changed during `fit`, compiled again',
    (f'{_FIT}trainable_changed_in_mid_run',),
  ),
  Item('Python generators', (f'{_FIT}generators',)),
  Item('`PyDataset`', (f'{_FIT}pydataset',)),
  Item('`tf.data`', (f'{_FIT}tf_data',)),
  Item('torch `DataLoader`', (f'{_FIT}torch_dataloaders',)),
  Item(
    '`sample_weight`, `class_weight`',
    (f'{_FIT}sample_weights_and_class_weights',),
  ),
  Item('several inputs and outputs', (f'{_FIT}several_inputs_and_outputs',)),
)


def read() -> dict[str, dict[str, str]]:
  """Returns the outcome of each test, by backend and test."""
  if not RESULTS.exists():
    return {}
  return json.loads(RESULTS.read_text())['outcomes']


def outcome(item: Item, backend: str) -> str:
  """Returns a cell of the table.

  Args:
    item: its row.
    backend: its column.
  """
  of_backend = read().get(backend, {})
  found = {of_backend.get(test, MISSING) for test in item.tests}
  if found == {'passed'}:
    return item.outcome
  (first, *_) = sorted(found - {'passed'})
  return first


def table() -> str:
  """Returns the table of all items."""
  names = {'tensorflow': 'TensorFlow', 'jax': 'JAX', 'torch': 'torch'}
  lines = [
    f'| | {" | ".join(names[backend] for backend in BACKENDS)} |',
    '|---|---|---|---|',
  ]
  for item in ITEMS:
    cells = [outcome(item, backend) for backend in BACKENDS]
    lines.append(f'| {item.name} | {" | ".join(cells)} |')
  return '\n'.join(lines)


def _run(tests: list[str]) -> dict[str, str]:
  """Runs tests; returns `passed`, FAILED or why they were skipped."""
  with tempfile.TemporaryDirectory() as folder:
    report = pathlib.Path(folder) / 'report.xml'
    subprocess.run(
      [
        *(sys.executable, '-m', 'pytest', '-q', '-o', 'addopts='),
        *('-m', 'keras3', f'--junitxml={report}', *tests),
      ],
      cwd=_ROOT,
      check=False,
    )
    cases = xml.etree.ElementTree.parse(report).iter('testcase')
    found = {}
    for case in cases:
      path = case.get('classname', '').replace('.', '/')
      skipped = case.find('skipped')
      failed = (
        case.find('failure') is not None or case.find('error') is not None
      )
      result = FAILED if failed else 'passed'
      if skipped is not None:
        result = skipped.get('message', '')
      found[f'{path}.py::{case.get("name")}'] = result
    return found


def main() -> None:
  """Runs the tests on the backend of the process, and writes the table."""
  backend = os.environ['KERAS_BACKEND']
  words = sys.argv[1:] or ['']
  tests = [test for item in ITEMS for test in item.tests]
  found = _run([test for test in tests if any(w in test for w in words)])
  outcomes = read()
  outcomes[backend] = {**outcomes.get(backend, {}), **found}
  RESULTS.parent.mkdir(parents=True, exist_ok=True)
  files.write_json(RESULTS, {**provenance.record(), 'outcomes': outcomes})
  write_table()


def write_table() -> None:
  """Replaces the table of the document."""
  text = re.sub(r'^\|.*\|$\n?', '', DOCUMENT.read_text(), flags=re.M)
  DOCUMENT.write_text(text.rstrip('\n') + '\n\n' + table() + '\n')


if __name__ == '__main__':
  main()
