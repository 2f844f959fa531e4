"""How a step runs on a machine: a process of its own, leases, signals, failures, GPUs."""
