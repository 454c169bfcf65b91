"""Models that do not depend on those before them: names and random numbers."""

import importlib
import sys


def start_anew(seed: int) -> None:
  """Resets the names of layers and seeds the random numbers of all Kerases.

  Where several models are made one after another, each then has the names and
  the initial weights that it would have alone. It is for code that does not
  know yet of which Keras the next model is.

  Args:
    seed: in [0, 2^32).
  """
  kerases = [sys.modules[p] for p in ('tf_keras', 'keras') if p in sys.modules]
  for keras in kerases:
    if keras.__name__ == 'keras':
      # Its `clear_session` would also undo the user's settings, such as the
      # dtype policy and the distribution.
      importlib.import_module('keras.src.utils.naming').reset_uids()
    else:
      keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
