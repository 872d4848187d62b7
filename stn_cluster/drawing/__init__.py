"""What a page draws with PyTorch: images, and what networks make of them, in another process."""
