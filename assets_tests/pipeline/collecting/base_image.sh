#!/usr/bin/env bash
# The base of deploy/sandbox.Dockerfile, under the name that it has there: pulled, or made of Debian's and npm's own
# packages where no registry of images can be reached. Needs a Docker engine; to make it, root, debootstrap and npm.
set -euo pipefail
name=$1
docker image inspect "$name" >/dev/null 2>&1 && exit
timeout 120 docker pull --quiet "$name" 2>/dev/null && exit

command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
suite=bookworm
version=${name#*:} && version=${version%%-*}
debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" >"$work/log" || { tail "$work/log"; exit 1; }
npm install --silent --no-audit --no-fund --prefix "$work/npm" "node@~$version" npm@11 >/dev/null
install -D "$work/npm/node_modules/node/bin/node" "$work/root/usr/local/bin/node"
mkdir -p "$work/root/usr/local/lib/node_modules"
cp -r "$work/npm/node_modules/npm" "$work/root/usr/local/lib/node_modules/"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/root/usr/local/bin/npm"
# What this machine trusts: a build behind a proxy of its own must trust it too.
cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
mkdir -p "$work/root/usr/local/etc" && echo 'cafile=/etc/ssl/certs/ca-certificates.crt' >"$work/root/usr/local/etc/npmrc"
tar -C "$work/root" --exclude=./var/cache/apt/archives --exclude=./usr/share/doc -cf - . | docker import - "$name" >/dev/null
