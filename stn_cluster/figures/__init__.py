"""Figures of a result store: frames in, matplotlib's Figure out.

None uses pyplot or changes matplotlib's settings, so that they can be drawn in any thread.
"""
