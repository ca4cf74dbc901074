"""Label Assisted Distillation for semantic segmentation: a library and a notebook suite."""

__version__ = "0.2.0"
