"""`python -m tf_unilth` is the command `tf-unilth`."""

import sys

from tf_unilth.inspection.command import main

if __name__ == '__main__':
  sys.exit(main())
