"""The progress of a run: epoch budget, rounds and continuation.

Plain Python; imports no framework.
"""
