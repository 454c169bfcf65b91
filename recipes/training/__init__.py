"""One run of a recipe, from its flags to its report."""
