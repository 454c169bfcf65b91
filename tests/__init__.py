"""Tests of tf_unilth and its recipes; run with `pytest`."""
