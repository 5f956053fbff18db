"""The Dockerfile and the Compose file: their syntax, and that they agree with the command. No container is run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from layerwise.cli.main import _parser

DOCKER = Path(__file__).parents[2] / "docker"
# The instructions of the reference of Dockerfiles.
INSTRUCTIONS = {
    *(
        "FROM",
        "RUN",
        "CMD",
        "LABEL",
        "EXPOSE",
        "ENV",
        "ADD",
        "COPY",
        "ENTRYPOINT",
        "VOLUME",
        "USER",
        "WORKDIR",
    ),
    *("ARG", "ONBUILD", "STOPSIGNAL", "HEALTHCHECK", "SHELL"),
}


def instructions() -> list[tuple[str, str]]:
    text = (DOCKER / "Dockerfile").read_text()
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in pairs]


def test_the_dockerfile_has_known_instructions_in_order() -> None:
    names = [name for name, _ in instructions()]
    assert set(names) <= INSTRUCTIONS
    assert names[0] == "FROM"
    assert names.count("ENTRYPOINT") == names.count("CMD") == names.count("HEALTHCHECK") == 1
    assert names.index("USER") < names.index("ENTRYPOINT"), "it doesn't run as root"


def test_what_is_copied_exists() -> None:
    for name, rest in instructions():
        if name == "COPY":
            for source in shlex.split(rest)[:-1]:
                assert (DOCKER.parent / source).exists(), source


def test_the_extras_exist() -> None:
    (install,) = [rest for name, rest in instructions() if name == "RUN" and rest.startswith("pip")]
    match = re.search(r"\.\[([\w,]+)\]", install)
    assert match
    project = (DOCKER.parent / "pyproject.toml").read_text()
    for extra in match[1].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_the_command_of_the_container_is_one() -> None:
    parts = dict(instructions())
    command = [*json.loads(parts["ENTRYPOINT"]), *json.loads(parts["CMD"])]
    assert command[0] == "layerwise"
    args = _parser().parse_args(command[1:])
    assert (args.host, args.port, args.models) == ("0.0.0.0", 8000, ["minilm"])
    assert parts["EXPOSE"] == "8000"
    check = json.loads(parts["HEALTHCHECK"].partition("CMD ")[2])
    compile(check[2], "healthcheck", "exec")


@pytest.fixture
def compose() -> Any:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_the_compose_file_has_known_keys(compose: Any) -> None:
    assert set(compose) == {"services", "configs"}
    known = {
        "build",
        "image",
        "command",
        "environment",
        "ports",
        "stop_grace_period",
        "restart",
        "configs",
        "depends_on",
    }
    for service in compose["services"].values():
        assert set(service) <= known
        assert ("image" in service) != ("build" in service)
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "for this machine only"
    build = compose["services"]["layerwise"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).exists()


def test_prometheus_scrapes_the_server(compose: Any) -> None:
    scraping = yaml.safe_load(compose["configs"]["prometheus"]["content"])
    (job,) = scraping["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["layerwise:8000"]}]
    assert "LAYERWISE_API_KEY" in job["authorization"]["credentials"]


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml"])
def test_they_say_that_they_are_untried(name: str) -> None:
    assert (DOCKER / name).read_text().startswith("# Untried")
