"""The use cases of the service, over ports and core."""
