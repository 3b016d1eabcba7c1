"""rotator's documents in Vault: the only place that knows their JSON."""
