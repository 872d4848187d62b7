"""Using trained networks: loading one, and what it says of images.

Needs torch; `stn_cluster` offers its functions lazily.
"""
