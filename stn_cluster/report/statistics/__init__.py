"""Statistics of errors on common test images: pure functions of NumPy and SciPy.

Two questions are kept apart, and every result says which one it answers: see `questions`. Errors
and differences are proportions (0 to 1). What is drawn at random is images, in units of *base
images*: distorted versions of one image are not independent of each other.
"""
