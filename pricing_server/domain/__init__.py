"""What the service is about: values and rules without I/O, known to every other package."""
