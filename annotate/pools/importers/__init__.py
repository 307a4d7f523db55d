"""docs/imports.md describes the fields of files."""
