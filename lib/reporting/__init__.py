"""Pictures, leaderboard and report, from what the store holds."""
