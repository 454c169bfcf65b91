"""Tests of tickets and their files."""
