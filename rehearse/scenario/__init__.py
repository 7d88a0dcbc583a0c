"""The scenario stage: TOML text or command-line flags become one frozen `Scenario`; errors say where."""
