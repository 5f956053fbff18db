"""What the page and its server hold and answer."""
