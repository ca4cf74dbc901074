"""What people turn. The only door to ipywidgets; it holds no mathematics: `labkit.explorers` draws, this shows."""

from labkit.widgets._show import has_front_end, show

__all__ = ["has_front_end", "show"]
