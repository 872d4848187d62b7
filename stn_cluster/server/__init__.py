"""The service over HTTP. The client's side (`client`) needs neither the server's nor Ray."""
