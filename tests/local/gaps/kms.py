"""KMS: ciphertexts that cannot be forged, the key a caller names, and what a disabled key still tells.

The emulator encrypts by XOR with a hash over the context in front: any flipped bit of the
body decrypts to other plaintext. A sealed data key must be all or nothing.
"""

import base64
import hashlib
import hmac
import json

from ministack.services import kms

from gaps import gap

TAG_BYTES = 32
KEY_ID_BYTES = 36
SHORTEST_BYTES = 100
"""Key id, context hash, nonce and one block of plaintext; anything shorter is not symmetric."""


@gap("kms-authenticated-ciphertexts", "Decrypt: a changed ciphertext is InvalidCiphertextException, never other plaintext")
def authenticated_ciphertexts() -> None:
    for operation in ("_encrypt", "_generate_data_key", "_generate_data_key_without_plaintext"):
        setattr(kms, operation, _sealing(getattr(kms, operation)))
    decrypt = kms._decrypt

    def checked_decrypt(request):
        blob = _bytes(request.get("CiphertextBlob", ""))
        key = _key_of(blob)
        if key is None:
            return decrypt(request)
        body, tag = blob[:-TAG_BYTES], blob[-TAG_BYTES:]
        if not hmac.compare_digest(_tag(key, body), tag):
            return kms.error_response_json("InvalidCiphertextException", "", 400)
        return decrypt({**request, "CiphertextBlob": base64.b64encode(body).decode()})

    kms._decrypt = checked_decrypt


@gap("kms-incorrect-key", "Decrypt: a KeyId other than the one that encrypted is IncorrectKeyException")
def incorrect_key() -> None:
    decrypt = kms._decrypt

    def decrypt_with_named_key(request):
        named = kms._resolve_key(request["KeyId"]) if request.get("KeyId") else None
        used = _key_of(_bytes(request.get("CiphertextBlob", "")))
        if named and used and named["KeyId"] != used["KeyId"]:
            message = "The key ID in the request does not identify a CMK that can perform this operation."
            return kms.error_response_json("IncorrectKeyException", message, 400)
        return decrypt(request)

    kms._decrypt = decrypt_with_named_key


@gap("kms-disabled-public-key", "GetPublicKey: refused for a key that is disabled or pending deletion, as its use is")
def disabled_public_key() -> None:
    get_public_key = kms._get_public_key

    def get_public_key_in_state(request):
        key = kms._resolve_key(request.get("KeyId", ""))
        return key and kms._check_key_state(key) or get_public_key(request)

    kms._get_public_key = get_public_key_in_state


def _sealing(operation):
    def sealed(request):
        status, headers, body = operation(request)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        blob = base64.b64decode(answer["CiphertextBlob"])
        key = _key_of(blob + bytes(TAG_BYTES))
        if key is not None:
            answer["CiphertextBlob"] = base64.b64encode(blob + _tag(key, blob)).decode()
        return status, headers, json.dumps(answer).encode()

    return sealed


def _key_of(blob: bytes) -> dict | None:
    """The symmetric key a ciphertext names in its first bytes."""
    if len(blob) < SHORTEST_BYTES:
        return None
    key = kms._resolve_key(blob[:KEY_ID_BYTES].decode("ascii", "ignore"))
    return key if key and "_symmetric_key" in key else None


def _tag(key: dict, body: bytes) -> bytes:
    return hmac.new(key["_symmetric_key"], b"ciphertext tag" + body, hashlib.sha256).digest()


def _bytes(value) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)
