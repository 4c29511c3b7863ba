"""Opens and makes wallets with PyPI's eth-account, which knows nothing of the product:

    python wallet.py open KEYSTORE_FILE PASSWORD         prints the private key
    python wallet.py make KEYSTORE_FILE PASSWORD KEY     with its usual scrypt
    python wallet.py words WORDS PASSPHRASE              prints the private key of the first account
    python wallet.py recover HASH_HEX SIGNATURE_HEX      prints the addresses that may have made r and s
"""

import json
import pathlib
import sys

from eth_account import Account
from eth_keys import keys

verb, *arguments = sys.argv[1:]
if verb == "open":
    file, password = arguments
    print(Account.decrypt(pathlib.Path(file).read_text(), password).hex())
elif verb == "make":
    file, password, key = arguments
    pathlib.Path(file).write_text(json.dumps(Account.encrypt(key, password, kdf="scrypt")))
elif verb == "words":
    words, passphrase = arguments
    Account.enable_unaudited_hdwallet_features()
    print(Account.from_mnemonic(words, passphrase).key.hex())
elif verb == "recover":
    digest, signature = (bytes.fromhex(text) for text in arguments)
    for parity in (0, 1):
        recovered = keys.Signature(signature + bytes([parity])).recover_public_key_from_msg_hash(digest)
        print(recovered.to_checksum_address())
else:
    sys.exit(f"unknown verb {verb}")
