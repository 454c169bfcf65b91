"""Exports stripped models to SavedModel and TFLite, and verifies the files."""
