"""A line on each built-in component, for people; reading them loads nothing."""

from __future__ import annotations

LINES: dict[tuple[str, str], str] = {
    ("model", "FCN"): "two hidden fully connected layers, no transformer",
    ("model", "CNN"): "two convolutions with pooling, no transformer",
    ("model", "ST-FCN"): "a transformer with a fully connected localisation net, then FCN",
    ("model", "ST-CNN"): "a transformer with a convolutional localisation net, then CNN",
    ("transform", "none"): "of models without a transformer",
    ("transform", "affine"): "a 2x3 matrix, 6 parameters",
    ("transform", "projective"): "a 3x3 matrix, 8 parameters",
    ("transform", "tps"): "a thin plate spline with 4x4 control points, 32 parameters",
    ("distortion", "R"): "rotated by up to 90 degrees",
    ("distortion", "RTS"): "rotated by up to 45 degrees, scaled by 0.7 to 1.2, moved",
    ("distortion", "P"): "projective: scaled by 0.75 to 1, corners moved by N(0, 5 px)",
    ("distortion", "E"): "elastic: 16 points of a thin plate spline moved by N(0, 1.5 px)",
    ("distortion", "clean"): "none at all",
    ("dataset", "digits"): "scikit-learn's 1,797 handwritten digits; nothing to download",
    ("dataset", "mnist"): "MNIST, 60,000 images for training and 10,000 for tests",
    ("dataset", "fashion-mnist"): "Fashion-MNIST, 28 pixels, grey: 60,000 and 10,000 images",
    ("dataset", "kmnist"): "Kuzushiji-MNIST, 28 pixels, grey: 60,000 and 10,000 images",
    ("dataset", "cifar10"): "CIFAR-10, 32 pixels, in colour: 50,000 and 10,000 images",
    ("dataset", "mnist-validation"): "MNIST's training images, 10,000 of them for tests",
    ("dataset", "mnist-validation-5"): "the same, each test image distorted five ways",
    ("recipe", "paper"): "as published: 150,000 steps of SGD; for GPUs",
    ("recipe", "fast"): "ours: AdamW on a one-cycle schedule, 18,750 to 42,000 steps",
    ("recipe", "smoke"): "8 steps of tiny networks: shows that all runs",
}
