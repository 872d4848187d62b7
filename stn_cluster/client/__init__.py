"""A laptop's part: the HTTP client, and the schemas that client and server share. No Ray, no torch."""
