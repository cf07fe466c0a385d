"""Problems and strategies that the C library runs."""
