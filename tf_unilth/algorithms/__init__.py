"""LTH, DLTH, UniLTH and UniDLTH: one callback, four subclasses."""
