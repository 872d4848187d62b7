"""HTTP client of a service, and the schemas that it shares with the server.

A laptop needs only this part.
"""
