"""Choose a store by URL and measure its calls."""
