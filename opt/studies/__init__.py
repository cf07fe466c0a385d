"""Many runs: sweeps, tasks, workers, a process each, clusters."""
