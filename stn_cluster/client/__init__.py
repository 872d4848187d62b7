"""HTTP client of a service, and the schemas that it shares with the server: a laptop's part."""
