"""Read and publish trust feeds (The Update Framework, TUF)."""
