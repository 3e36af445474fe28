"""RSA keys and signatures, by the openssl command: nothing more to install."""

import base64
import subprocess
from pathlib import Path

OPENSSL = "openssl"
DAYS = "30"  # longer than any rehearsal
HOSTS = "DNS:*.googleapis.com"
BITS = "2048"  # what Google's own service account keys have


def private_key(path: Path) -> str:
    """Return the private key of a file as PEM; made on first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        options = ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{BITS}", "-out", str(path)]
        _openssl(["genpkey", *options])
        path.chmod(0o600)
    return path.read_text("ascii")


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for Google's hosts and of its key; made on first use."""
    pem, key = folder / "keys" / "googleapis.crt", folder / "keys" / "googleapis.pem"
    if not pem.exists():
        private_key(key)
        names = ["-subj", "/CN=*.googleapis.com", "-addext", f"subjectAltName={HOSTS}"]
        usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        files = ["-key", str(key), "-out", str(pem)]
        _openssl(["req", "-x509", "-days", DAYS, *files, *names, *usage])
    return pem, key


def sign(path: Path, data: bytes) -> bytes:
    """Return the signature of data: RSASSA-PKCS1-v1_5 with SHA-256, the RS256 of JWTs."""
    return _openssl(["dgst", "-sha256", "-sign", str(path)], data)


def base64url(data: bytes) -> str:
    """Return data in the base64 of JWTs: for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the data of a JWT's part."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _openssl(arguments: list[str], data: bytes = b"") -> bytes:
    done = subprocess.run([OPENSSL, *arguments], input=data, check=True, capture_output=True)
    return done.stdout
