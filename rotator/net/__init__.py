"""Parts that the clients of the provider and of Vault share."""
