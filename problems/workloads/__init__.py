"""What is compressed: trained networks by name, the user's own."""
