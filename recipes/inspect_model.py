"""Shows the content of a model, a ticket or a run directory; compares two.

  python -m recipes.inspect_model runs/digits_cnn/unilth-0.9-seed0
  python -m recipes.inspect_model model.tflite --against=export
  python -m recipes.inspect_model a.ticket --against=b.ticket

It is the library's command `tf-unilth inspect`.
"""

import sys

from tf_unilth import inspection

if __name__ == '__main__':
  sys.exit(inspection.main(['inspect', *sys.argv[1:]]))
