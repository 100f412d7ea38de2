"""Certificates that sign themselves, and clients that trust them."""
import ssl
import subprocess


def make_certificate(folder, name, *alt_names, days=30):
    """A certificate that signs itself, and its key, in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    chain, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", chain, "-days", str(days), "-subj", f"/CN={name}",
         "-addext", "subjectAltName=" + ",".join(alt_names)], check=True, capture_output=True)
    both = folder / f"{name}.pem"
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    both.chmod(0o600)
    return both


def trusting(*certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate in certificates:
        context.load_verify_locations(certificate)
    return context


def trusting_all():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
