"""docs/production.md as an operator would follow it, as far as it goes without a cluster."""

import re
import shlex
import tomllib
from pathlib import Path

import yaml
from pydantic import SecretStr

from rotator.emulator import Account, Emulator, running
from testkit.cluster import Cluster
from testkit.openbao import Issuer
from testkit.vault_site import FIRST, running_site
from tests.deploy.chart import render

PAGE = (Path(__file__).parents[2] / "docs" / "production.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
(VALUES,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands(beginning: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(beginning)]


def test_page_has_at_most_twelve_known_commands() -> None:
    assert len(COMMANDS) <= 12
    kinds = ("docker build ", "docker push ", "export VAULT_ADDR=", "vault login", "KUBERNETES_HOST=", "helm upgrade ")
    rest = [command for command in COMMANDS if not command.startswith(kinds)]
    assert all(re.match(r"kubectl --namespace rotator (exec|rollout status) ", command) for command in rest)


def test_commands_of_the_page_rotate_an_account(tmp_path: Path) -> None:
    (helm,) = (shlex.split(command) for command in commands("helm "))
    assert helm[:5] == ["helm", "upgrade", "--install", "rotator", "deploy/helm/rotator"]
    assert (helm[6], helm[9]) == ("rotator", "values.yaml")
    objects = {one["kind"]: one for one in render(yaml.safe_load(VALUES), helm[3])}
    (config,) = objects["ConfigMap"]["data"].values()
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    (build,), (push,) = commands("docker build "), commands("docker push ")
    assert build.endswith(f" --tag {container['image']} .")
    assert push == f"docker push {container['image']}"
    (account,) = tomllib.loads(config)["accounts"]
    (setup,) = (shlex.split(command) for command in commands("KUBERNETES_HOST="))
    assert setup[1:] == ["deploy/vault/setup.sh", account["name"]]

    emulator = Emulator([Account(account["api_key"], SecretStr(FIRST))])
    with running_site(tmp_path) as site, running(emulator) as url:  # the script was run, for the account main
        claims = {"namespace": "rotator", "serviceaccount": {"name": "rotator", "uid": "uid-1"}}
        jwt = Issuer().sign(sub="system:serviceaccount:rotator:rotator", **{"kubernetes.io": claims})
        site.reviews.accepted[jwt] = "rotator:rotator"
        (tmp_path / "jwt").write_text(jwt)
        cluster = Cluster(site.bao, emulator, url, tmp_path)
        cluster.config.write_text(config)
        cluster.remember(FIRST, jwt)
        cluster.settings = {
            "VAULT_TOKEN": "",
            "ROTATOR_VAULT__ADDRESS": site.bao.address,
            "ROTATOR_VAULT__AUTH__JWT_FILE": str(tmp_path / "jwt"),
            "ROTATOR_ACCOUNT_API__API_URL": url,
            "ROTATOR_ACCOUNT_API__REST_URL": url,
            "ROTATOR_DAEMON__LISTEN": "127.0.0.1:0",
        }
        with cluster.daemon() as daemon:
            daemon.wait_until_ready()
            fresh = cluster.run(*objects["Pod"]["spec"]["containers"][0]["args"])
            assert fresh.code == 0, fresh  # the pod of `helm test`, before the adoption
            assert "Run for each: rotator adopt NAME" in " ".join(fresh.out.split())
            for command in commands("kubectl --namespace rotator exec "):
                args = shlex.split(command.partition(" -- rotator ")[2])
                typed = [*args, "--secret-stdin"] if args[0] == "adopt" else args  # there is no terminal here
                done = cluster.run(*typed, text=FIRST)
                assert done.code == 0, done
        live = emulator.live(account["api_key"])
        document = cluster.document(account["path"])
        assert document["api_secret"] != FIRST
        assert live[document["secret_id"]].get_secret_value() == document["api_secret"]
        assert len(live) == 2, "the one before keeps working for its grace"
        cluster.assert_nothing_leaked()
