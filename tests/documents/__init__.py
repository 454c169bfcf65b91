"""Tests of what README and docs say, and of the results that they quote."""
