// Opens and makes wallets with npm's ethers, which knows nothing of the product:
//     node wallet.mjs NODE_MODULES open KEYSTORE_FILE PASSWORD        prints the private key
//     node wallet.mjs NODE_MODULES make KEYSTORE_FILE PASSWORD KEY    with a quick scrypt
//     node wallet.mjs NODE_MODULES words WORDS PASSPHRASE             prints the private key of the first account
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [modules, verb, ...rest] = process.argv.slice(2);
const { HDNodeWallet, Mnemonic, Wallet, encryptKeystoreJsonSync } = createRequire(join(modules, "/"))("ethers");

if (verb === "open") {
    const [file, password] = rest;
    console.log((await Wallet.fromEncryptedJson(readFileSync(file, "utf8"), password)).privateKey);
} else if (verb === "make") {
    const [file, password, key] = rest;
    writeFileSync(file, encryptKeystoreJsonSync(new Wallet(key), password, { scrypt: { N: 1024 } }));
} else if (verb === "words") {
    const [words, passphrase] = rest;
    console.log(HDNodeWallet.fromMnemonic(Mnemonic.fromPhrase(words, passphrase)).privateKey);
} else {
    throw new Error(`unknown verb ${verb}`);
}
