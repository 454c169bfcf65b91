"""Exports of stripped models: SavedModel and TFLite, and their verification."""
