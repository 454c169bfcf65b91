"""The command `tf-unilth`, also `python -m tf_unilth`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tf_unilth.export.quiet import silenced

_ABOUT = """\
Prints the content of a file or folder: its tensors with their zeros and bytes,
and the results of checks (it loads, all values are finite, the zeros are those
that it claims).

PATH is a SavedModel, a TFLite, .keras or .h5 file, a ticket, or the run
directory of a recipe. With --against two models compute the outputs of the same
random inputs, and the largest difference is printed; of two tickets the masks
and the rewind weights are compared.
"""
_EXAMPLES = """\
examples:
  tf-unilth inspect model.tflite
  tf-unilth inspect model.tflite --against export
  tf-unilth inspect a.ticket --against b.ticket

The exit code is 1 if PATH cannot be read, if it cannot be compared with OTHER,
or if a check fails.
"""


class _Parser(argparse.ArgumentParser):
  """Reports a wrong command line in one line, with exit code 1."""

  def error(self, message: str) -> NoReturn:
    self.exit(1, f'error: {message}. See {self.prog} --help.\n')


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command.

  Args:
    arguments: the words after the program's name; `None` for those of this
      process.

  Returns:
    The exit code: 0, or 1 after an error, which is one line on stderr.

  Raises:
    SystemExit: after `--help`, or if the command line is wrong.

  >>> layers = [keras.layers.Dense(2, input_shape=(2,), name='head')]
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   path = f'{folder}/model.keras'
  ...   keras.Sequential(layers).save(path)
  ...   main(['inspect', path])  # doctest: +ELLIPSIS
  Keras file ...
  0
  """
  given = _parser().parse_args(arguments)
  with silenced():  # TensorFlow logs when it is imported.
    inspection: Any = importlib.import_module('tf_unilth.inspection')
    unreadable = inspection.UnreadableError
  try:
    error = _inspect(inspection, given)
  except unreadable as found:
    error = str(found)
  if error:
    print(f'error: {error}', file=sys.stderr)
  return int(bool(error))


def _inspect(inspection: Any, given: argparse.Namespace) -> str:
  """Prints a content and a comparison; returns which checks failed, if any."""
  path, other = given.path, given.against
  found = inspection.read(path)
  print(found)
  if other is not None:
    if inspection.kind_of(path) == inspection.kind_of(other) == 'ticket':
      print(inspection.compare_tickets(path, other))
    else:
      print(inspection.compare_outputs(path, other, given.input_seed))
  failed = [check.name for check in found.checks if not check.passed]
  return f'checks failed: {", ".join(failed)}' if failed else ''


def _parser() -> argparse.ArgumentParser:
  parser = _Parser('tf-unilth', description='Lottery tickets for Keras models.')
  commands = parser.add_subparsers(
    title='commands', dest='command', required=True
  )
  inspect = commands.add_parser(
    'inspect',
    help='print what a model, a ticket or a run directory contains',
    description=_ABOUT,
    epilog=_EXAMPLES,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  inspect.add_argument('path', metavar='PATH', help='a file or folder')
  inspect.add_argument(
    '--against', metavar='OTHER', help='a second path to compare PATH with'
  )
  inspect.add_argument(
    '--input_seed',
    type=_seed,
    default=0,
    metavar='N',
    help='seed of the random inputs, at least 0 (default: 0)',
  )
  return parser


def _seed(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(
      f'must be a whole number >= 0, but is {text!r}'
    )
  return int(text)
