"""Imports of JSONL and CSV files. docs/imports.md describes their fields."""
