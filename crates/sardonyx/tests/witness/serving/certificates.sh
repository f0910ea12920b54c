#!/bin/sh
# certificates.sh FOLDER: a root, two certificates of one server, a client's, and one of a stranger.
set -eu
cd "$1"
new_key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
root() { # name
    new_key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 2 -out "$1.pem"
}
sign() { # name, root, subject alternative name, usage
    new_key "$1"
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\nbasicConstraints=critical,CA:FALSE\n' "$3" "$4" >extensions
    openssl req -new -key "$1.key" -subj "/CN=$1" |
        openssl x509 -req -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -extfile extensions -out "$1.pem"
}
root root
root other
sign server root DNS:localhost serverAuth
sign second root DNS:localhost serverAuth
sign edge root DNS:edge.internal clientAuth
sign stranger other DNS:edge.internal clientAuth
