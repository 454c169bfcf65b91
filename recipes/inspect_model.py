"""What a model, a ticket or a run directory holds, and how two differ.

  python -m recipes.inspect_model runs/digits_cnn/unilth-0.9-seed0
  python -m recipes.inspect_model model.tflite --against=export
  python -m recipes.inspect_model a.ticket --against=b.ticket

Reads SavedModels, TFLite files, .keras and .h5 files, tickets and run
directories, and ends with an error if a check fails. With `--against` two
models compute the outputs of the same random inputs; of two tickets the masks
and rewind weights are compared.
"""

import sys

from absl import app, flags

from recipes.common import model_outputs
from tf_unilth.inspection import readers, ticket_comparison

_AGAINST = flags.DEFINE_string(
  'against', None, 'Another path, to compare it with.'
)
_SEED = flags.DEFINE_integer(
  'input_seed', 0, 'What the random inputs are drawn from.', 0
)


def _main(arguments: list[str]) -> str | None:
  """Returns an error's one line, `None` if all checks passed."""
  if len(arguments) != 2:
    return 'error: give one PATH, as in python -m recipes.inspect_model PATH.'
  path = arguments[1]
  try:
    found = readers.read(path)
    print(found)
    if _AGAINST.value:
      print(_compared(path, _AGAINST.value))
  except readers.UnreadableError as error:
    return f'error: {error}'
  failed = [check.name for check in found.checks if not check.passed]
  return f'error: checks failed: {", ".join(failed)}' if failed else None


def _compared(path: str, other: str) -> str:
  if readers.kind_of(path) == readers.kind_of(other) == 'ticket':
    return ticket_comparison.against(path, other)
  return model_outputs.against(path, other, _SEED.value)


if __name__ == '__main__':
  app.run(lambda arguments: sys.exit(_main(arguments)))
