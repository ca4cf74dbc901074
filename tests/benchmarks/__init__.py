"""Speed measurements: rows, never tests."""
