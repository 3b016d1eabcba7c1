"""Rotate the API secrets of Nexmo/Vonage accounts and publish them in Vault."""

__version__ = "0.1.0"
