"""What happened meanwhile: who waited for whom, and what state the server was in."""
