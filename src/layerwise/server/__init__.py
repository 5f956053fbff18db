"""HTTP servers: they only parse requests and write answers; `page` computes them."""
