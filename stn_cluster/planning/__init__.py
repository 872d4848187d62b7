"""What a config would take and show, before anything runs."""
