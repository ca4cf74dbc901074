"""Recipes that several data sets share: overrides of settings, combined by each set's own file."""

# A small Unet from scratch, on a CPU: the default of all data sets read from files.
SMALL = {
    "architecture": "unet", "encoder": "tu-mobilenetv3_small_100",
    "teacher.train_steps": 1500, "student.train_steps": 1000, "batch_size": 8,
    "optimiser": "adamw", "learning_rate": 2e-3, "weight_decay": 1e-2, "warmup_steps": 30,
    "scale_min": 0.75, "scale_max": 1.75, "brightness": 0.3,
    "label_scale": 3, "consistency_weight": 0.1, "distillation": "cwd:3", "cwd.temperature": 1,
}  # fmt: skip

# The field's form, for a GPU: PSPNet, a teacher with ResNet-101 and a student with ResNet-18, from
# ImageNet weights. Source: CIRKD's schedule, arXiv 2204.06986; the consistency weight is far
# below the official code's 5, with which a teacher can ignore its label.
PAPER = {
    "architecture": "pspnet", "teacher.encoder": "resnet101", "student.encoder": "resnet18",
    "encoder_weights": "imagenet", "auxiliary_weight": 0.4,
    "crop_height": 512, "crop_width": 512, "scale_min": 0.5, "scale_max": 2,
    "train_steps": 40000, "batch_size": 16, "scoring_batch": 1,
    "optimiser": "sgd", "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 1e-4,
    "warmup_steps": 0, "poly_power": 0.9,
    "label_scale": 1.7, "consistency_weight": 0.1, "distillation": "cwd:3", "cwd.temperature": 4,
}  # fmt: skip

# mmsegmentation's protocol for frames of mixed size: short side 512 in training and in scoring.
SHORT_512 = {"resize": "short:512", "score_size": "short:512"}

# More than a hundred classes: codes of one channel crowd, see labkit/datasets/README.md.
MANY_CLASSES = {"label_channels": 3}
