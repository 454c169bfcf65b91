"""The networks of the recipes, in tf_keras."""
