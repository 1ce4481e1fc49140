"""The gate by gain: measure what restoring brings on versions of images, fit the gate, show how far to trust it."""
