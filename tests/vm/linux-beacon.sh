#!/bin/sh
# A computer with Linux and BlueZ as the beacon ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/2, written by hand. The
# scenario linux-beacon runs it unless BEACONFENCE_LINUX_BEACON names another. usage: HCI=hci1 linux-beacon.sh start|stop
set -eu
# btmgmt ends as soon as its standard input does; a pipe that is open at both ends never does.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/input"
exec 3<>"$work/input"
manage() { timeout 30 btmgmt --index "${HCI#hci}" "$@" <&3; }
case $1 in
start)
    manage le on
    manage connectable off
    manage power on
    manage add-adv -d 1aff4c000215e2c56db5dffb48d2b060d0f5a71096e000010002c5 1
    ;;
stop) manage rm-adv 1 ;;
esac
