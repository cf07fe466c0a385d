"""The C library for Cartesian genetic programming; `native.cgp` is its Python face."""
