"""What is compressed and how it is judged: workloads, trained networks by name, the user's own."""
