#!/bin/bash
# healthcheck PORT PATH: whether http://127.0.0.1:PORT/PATH answers 200 within 3 seconds. bash alone, so that
# images need no HTTP client.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
read -r -t 3 _ status _ <&3
[[ $status == 200 ]]
