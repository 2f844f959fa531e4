"""What a publisher serves: the same few facts for data and for pretrained weights."""

from pydantic import BaseModel, ConfigDict


class UpstreamFile(BaseModel):
    """One file as its publisher serves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    url: str
    max_bytes: int
    md5: str | None = None
    """Checked where the file came from its publisher; a mirror may have packed it anew."""
    sha256: str | None = None
    """Checked wherever it came from."""
    only_in_mirrors: bool = False
    """No publisher serves it: `url` is where it would stand."""
    package: str | None = None
    """A Python package that may be installed and then has it."""

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]
