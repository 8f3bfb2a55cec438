"""Open a protocol on a dataset: read both, prove that the frozen roles fit and leak nothing."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.open import DatasetSpec, OpenDataset
from bench.dataset import Dataset
from bench.protocol import Protocol, Roles, load_roles
from bench.run.submissions import SubmissionSpec
from bench.settings import PROTOCOLS
from bench.workflows.workspace import find_protocol


@dataclass(frozen=True)
class OpenBench:
    """A protocol on a dataset, proven to belong together.

    source  the dataset with the folder of its images
    roles   train, val or test of every image in every fold
    proven  what was proven of the roles, in sentences
    """

    protocol: Protocol
    source: OpenDataset
    roles: Roles
    proven: tuple[str, ...] = ()

    @property
    def dataset(self) -> Dataset:
        """Records of the dataset: image, lesion, patient, label and metadata."""
        return self.source.manifest

    @property
    def roles_sha256(self) -> str:
        """Hash of the frozen roles file."""
        return self.protocol.roles[self.dataset.name].sha256

    @property
    def submission_spec(self) -> SubmissionSpec:
        """What a submission to this protocol must hold."""
        protocol = self.protocol
        return SubmissionSpec(
            self.roles, self.dataset.classes, protocol.folds, protocol.run.seeds[0]
        )


def open_bench(
    protocol_name: str, data: DatasetSpec, *, images: bool = False, image_sizes: bool = False
) -> OpenBench:
    """Read the protocol, the dataset and the frozen roles; prove that they fit and leak nothing.

    images       whether the images are needed: the synthetic dataset draws them then
    image_sizes  read the size of every image file, for subgroups by it
    Raises BenchError that names what does not fit.
    """
    source = data.open(images=images or image_sizes)
    if image_sizes:
        from bench.data.images import with_image_sizes

        source = with_image_sizes(source)
    return prove_bench(protocol_name, source)


def prove_bench(protocol_name: str, source: OpenDataset) -> OpenBench:
    """Do the same for a dataset that is open already."""
    from bench.folds.verify import verify

    protocol = load_known_protocol(protocol_name)
    roles = load_roles(protocol, source.manifest.name, PROTOCOLS)
    roles.refuse_other_roster(source.manifest)
    proven = verify(roles, source.manifest, protocol)
    return OpenBench(protocol, source, roles, tuple(proven))


def load_known_protocol(name: str) -> Protocol:
    """Read a protocol. Raises ProtocolError for an unknown protocol or unknown metrics in it."""
    from bench.score.metrics import refuse_unknown

    protocol = find_protocol(name)
    refuse_unknown(
        (protocol.metrics.primary, *protocol.metrics.others), f"[metrics] of protocol {name}"
    )
    return protocol
