"""The supervisor: owns the trees, the jobs and the policy. It decides, the agent executes."""
