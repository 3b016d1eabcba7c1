"""The provider's Account API, in parts."""
