"""The HTTP interface, on Flask: requests into use cases, results and refusals into JSON."""
