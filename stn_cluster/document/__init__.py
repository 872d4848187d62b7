"""The report of a store: one HTML file that needs nothing else, and the same as Markdown and LaTeX.

Every number is from `stn_cluster.report`, which the tables of the command line are made by.
"""
