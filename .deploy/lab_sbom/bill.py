"""Making bills of materials from packages: components with package URLs, licenses and hashes."""

from collections.abc import Iterable
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from .sources import Image, Package

VERSION = SchemaVersion.V1_6
_LABELS = {
    "org.opencontainers.image.revision": "tensor-lab:commit",
    "tensor-lab.source-hash": "tensor-lab:source-hash",
}


def of_image(image: Image) -> Bom:
    """Return the bill of an image; after a push it names the image's digest in the registry."""
    repository, _, tag = image.reference.rpartition(":")
    version = image.digest or image.id
    where = {"repository_url": repository, "tag": tag}
    purl = PackageURL("oci", name=repository.rpartition("/")[2], version=version, qualifiers=where)
    kept = [Property(name=name, value=image.labels[label]) for label, name in _LABELS.items() if label in image.labels]
    subject = Component(
        type=ComponentType.CONTAINER,
        name=repository.partition("/")[2],
        version=image.labels.get("org.opencontainers.image.version", tag),
        purl=purl,
        bom_ref=str(purl),
        properties=[*kept, Property(name="tensor-lab:image-id", value=image.id)],
    )
    return _bill(subject, image.packages)


def of_lock_file(name: str, release: str, packages: Iterable[Package]) -> Bom:
    """Return the bill of a lock file, for all platforms; a package for some only has its marker as a property."""
    subject = Component(type=ComponentType.APPLICATION, name=name, version=release, bom_ref=f"{name}@{release}")
    return _bill(subject, packages)


def write(bill: Bom, path: Path) -> None:
    """Write it as JSON, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(make_outputter(bill, OutputFormat.JSON, VERSION).output_as_string(indent=1), encoding="utf-8")
    unfinished.replace(path)


def _bill(subject: Component, packages: Iterable[Package]) -> Bom:
    bill = Bom()
    bill.metadata.component = subject
    components = [_component(package) for package in packages]
    bill.components.update(components)
    bill.register_dependency(subject, components)
    return bill


def _component(package: Package) -> Component:
    purl = PackageURL(package.kind, package.namespace, package.name, package.version, package.qualifiers)
    # The hashes are those of the package index's files; a component's own hashes would be those of its installed files.
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.sha256],
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=purl,
        bom_ref=f"{purl}#{package.marker}" if package.marker else str(purl),
        licenses=[LicenseFactory().make_from_string(package.license)] if package.license else None,
        properties=[Property(name="tensor-lab:marker", value=package.marker)] if package.marker else None,
        external_references=[files] if package.sha256 else None,
    )
