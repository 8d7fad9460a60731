"""The harness of the integration tests: real servers, real agents, and a client that is not ours."""
