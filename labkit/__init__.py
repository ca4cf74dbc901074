"""labkit: Label Assisted Distillation for semantic segmentation, as an instrument people can play."""

__version__ = "0.1.0"
