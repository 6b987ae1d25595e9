"""What runs beside the jobs: spawner, bootstrap, agent, and a file per facility of the OS."""
