"""HTTP: fetching payloads and posting alerts. The only package that knows httpx."""
