"""The HTTP server of a service. The HTTP client (`client`) needs neither this package nor Ray."""
