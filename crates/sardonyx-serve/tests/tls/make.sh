#!/bin/sh
# Makes the certificates that the tests of TLS use: a root, two servers (to change between) and a
# client. Keys of tests protect nothing; they are valid for a century so that tests do not expire.
set -eu
cd "$(dirname "$0")"
days=36500
new_key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
new_key root
openssl req -x509 -new -key root.key -subj /CN=root -days $days -out root.pem
sign() { # name, subject alternative name, usage
    new_key "$1"
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\nbasicConstraints=critical,CA:FALSE\n' \
        "$2" "$3" >extensions
    openssl req -new -key "$1.key" -subj "/CN=$1" |
        openssl x509 -req -CA root.pem -CAkey root.key -CAcreateserial -days $days \
            -extfile extensions -out "$1.pem"
}
sign first DNS:localhost serverAuth
sign second DNS:localhost serverAuth
sign edge DNS:edge.internal clientAuth
rm -f root.key root.srl extensions
