"""The harness of tests and benchmarks: servers, proxies, processes and a model of both."""
