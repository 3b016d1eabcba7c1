"""Lines of deploy/ that can be wrong without a test of `make test` seeing it, and why; for mutants_deploy."""

_DEFAULT = "it is what Vault takes anyway, and is there to be seen"
_BUILT = "what the build does shows when it is done: `make image`"

# (file, "left out" or "garbled" or "both", the line): why
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("Dockerfile", "both", "WORKDIR /build"): _BUILT,
    ("Dockerfile", "both", "RUN python3 -m venv tools && python3 -m venv --without-pip /opt/rotator"): _BUILT,
    (
        "Dockerfile",
        "both",
        "sed -n '/^setuptools==/,/[^\\\\]$/p' requirements/dev.txt > requirements/build.txt \\",
    ): _BUILT,
    (
        "Dockerfile",
        "garbled",
        "&& tools/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt \\",
    ): _BUILT,
    ("Dockerfile", "both", "-r requirements/runtime.txt"): _BUILT,
    ("Dockerfile", "both", "--find-links dist rotator \\"): _BUILT,
    (
        "Dockerfile",
        "both",
        "&& /opt/rotator/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/rotator/lib",
    ): _BUILT,
    (
        "Dockerfile",
        "garbled",
        "RUN tools/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist . \\",
    ): _BUILT,
    (
        "deploy/helm/rotator/Chart.yaml",
        "garbled",
        'kubeVersion: ">=1.29.0-0"',
    ): "it tells of releases before 1.29.0 only",
    ("deploy/helm/rotator/Chart.yaml", "left out", "type: application"): "it is what Helm takes anyway",
    ("deploy/helm/rotator/values.schema.json", "both", '"title": "Values of the rotator chart",'): "people read it",
    ("deploy/vault/*-approle.json", "left out", '"secret_id_num_uses": 0'): _DEFAULT,
    ("deploy/vault/rotator-*.json", "left out", '"token_num_uses": 0,'): _DEFAULT,
    ("deploy/vault/rotator-*.json", "left out", '"token_num_uses": 0'): _DEFAULT,
    (
        "Dockerfile",
        "garbled",
        (
            "&& tools/bin/pip --python /opt/rotator/bin/python install "
            "--no-cache-dir --no-compile --no-deps --require-hashes \\"
        ),
    ): _BUILT,
}
