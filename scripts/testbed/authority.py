"""A certificate authority for brokers on this machine and their clients."""

from pathlib import Path

from testbed.machine import need_program, run_tool

DAYS = "3650"


class Authority:
    """A folder with the authority's `ca.pem` and the certificates and keys that it has issued, all PEM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = need_program("openssl", "openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self.openssl("req", "-x509", *self.new_key("ca"), "-subj", "/CN=Test authority")

    def issue(self, name: str, who: str) -> None:
        """Makes `NAME.pem` and `NAME.key` for a host, or for a user of that name."""
        names = f"IP:{who}" if who[0].isdigit() else f"DNS:{who}"
        authority = ["-CA", str(self.folder / "ca.pem"), "-CAkey", str(self.folder / "ca.key")]
        # rustls refuses a server whose own certificate is that of an authority.
        extensions = [f"subjectAltName={names}", "basicConstraints=critical,CA:FALSE"]
        added = [part for extension in extensions for part in ("-addext", extension)]
        subject = ["-subj", f"/CN={who}", *added]
        self.openssl("req", "-x509", *authority, *self.new_key(name), *subject)

    def new_key(self, name: str) -> list[str]:
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.pem")]
        return [*kind, *files, "-days", DAYS]

    def openssl(self, *arguments: str) -> None:
        run_tool([self.program, *arguments], "openssl failed")
