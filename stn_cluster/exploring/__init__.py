"""What a page shows of a store, as JSON; imports neither Ray nor PyTorch."""
