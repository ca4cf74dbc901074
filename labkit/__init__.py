"""Label Assisted Distillation for semantic segmentation: a library and a notebook suite."""

__version__ = "0.1.0"
