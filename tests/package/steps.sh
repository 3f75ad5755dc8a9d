# What is done with the package in the root that has booted, in order, and what must hold. Sourced by run.

config=/etc/beaconfence/gateway.toml
data=/var/lib/beaconfence

idle() { [ -z "$(inside systemctl list-jobs --no-legend 2>/dev/null)" ]; }
active() { [ "$(inside systemctl is-active beaconfence)" = active ]; }
main_pid() { inside systemctl show -P MainPID beaconfence; }
process() { inside cat "/proc/$(main_pid)/status"; }
install_package() { cp "$1" "/proc/$init/root/tmp/package.deb" && inside dpkg -i /tmp/package.deb; }
content() { inside cat "$1"; }
mode() { [ "$(inside stat -c '%U:%G %a' "$1")" = "$2" ] || { inside stat -c '%n is %U:%G %a' "$1"; false; }; }

# Everything that is in the root, but for what the system itself writes as time goes by.
everything() {
    inside find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp \
        -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/systemd/timers -o -path /var/lib/mosquitto \) -prune -o -print |
        grep -vxE '/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/etc/\.pwd\.lock|/var/lib/systemd/random-seed' | sort
    inside cat /etc/passwd /etc/group | sort
}

lifecycle() {
    everything >"$results/before"
    step "installed"
    installed_package
    step "confined"
    confined
    step "edited and started"
    edited
    step "events flow"
    events
    step "a secret"
    secret
    step "it stands still, it is told to read its settings again"
    watched
    step "upgraded, downgraded"
    exchanged
    step "removed, purged"
    removed
}

installed_package() {
    check "it installs" install_package "$older"
    check "its user is without a shell and without a password" \
        grep -q '^beaconfence:[x!*]:.*:/usr/sbin/nologin$' <(content /etc/passwd)
    check "its user is in no other group" test "$(inside id -Gn beaconfence)" = beaconfence
    check "it is not started before it is configured" test "$(inside systemctl is-active beaconfence)" = inactive
    check "nor at the next boot" test "$(inside systemctl is-enabled beaconfence)" = disabled
    check "the binary" mode /usr/bin/beaconfence "root:root 755"
    check "the template" mode $config "root:root 644"
    check "the data directory" mode $data "beaconfence:beaconfence 700"
    check "the unit" mode /usr/lib/systemd/system/beaconfence.service "root:root 644"
    check "the policy" mode /usr/share/dbus-1/system.d/beaconfence.conf "root:root 644"
    check "every other file is root's and writable by nobody else" not grep . <(inside sh -c '
        dpkg -L beaconfence | while read -r file; do find "$file" -maxdepth 0 \( ! -user root -o -perm /022 \) ! -type l; done')
    check "its template is a configuration file" \
        test "$(inside dpkg-query -W -f '${Conffiles}' beaconfence | awk '{print $1}')" = $config
    check "bluetoothd will offer advertisement monitors" \
        grep -q '^ExecStart=/usr/libexec/bluetooth/bluetoothd -E' <(inside systemctl cat bluetooth)
    check "and that bluetoothd is there" inside test -x /usr/libexec/bluetooth/bluetoothd
    check "the manual is there" \
        inside sh -c 'zcat /usr/share/man/man1/beaconfence.1.gz | grep -q "^.SH"'
    check "bash completes" inside bash -n /usr/share/bash-completion/completions/beaconfence
    check "the template passes check as it is" gateway check
    check "the example store passes check" inside beaconfence check --site /usr/share/doc/beaconfence/examples/store
}

confined() {
    local unit=/usr/lib/systemd/system/beaconfence.service
    check "systemd finds no fault in the unit" inside systemd-analyze verify $unit
    check "nor is any line of it unknown to systemd" not grep . <(inside systemd-analyze verify $unit 2>&1)
    inside systemd-analyze security --no-pager --offline=yes $unit >"$results/security.log" 2>&1 || true
    echo "          $(grep 'Overall exposure' "$results/security.log" | sed 's/^[^O]*//')"
    check "its exposure is at most 2.0" inside systemd-analyze security --offline=yes --threshold=20 $unit
    check "sysusers and the package agree" inside systemd-analyze cat-config sysusers.d/beaconfence.conf
}

# Three lines, by their marks in the template.
edited() {
    inside sed -i -E \
        -e '/EDIT/s/^id = "[^"]*"/id = "market-hall"/' \
        -e '/EDIT/s/^receiver = "[^"]*"/receiver = "ground-west"/' \
        -e '/EDIT/s,^brokers = \["[^"]*"\],brokers = ["mqtt://127.0.0.1:1883"],' $config
    check "three lines were edited" \
        test "$(diff "$top/deploy/debian/gateway.toml" "/proc/$init/root$config" | grep -c '^>')" = 3
    check "they pass check" gateway check
    # A bus that lets nobody speak to BlueZ, but whom a policy names.
    cat >"/proc/$init/root/etc/dbus-1/system.d/strict.conf" <<'END'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy context="default"><deny send_destination="org.bluez"/></policy>
</busconfig>
END
    inside systemctl reload dbus
    cp "$top/tests/mock/bluez_adverts.py" "/proc/$init/root/tmp/bluez_adverts.py"
    inside systemd-run --quiet --unit=bluez-mock /usr/bin/python3 -B -m dbusmock --system --template /tmp/bluez_adverts.py
    check "a mocked bluetoothd is there" within 15 inside busctl --quiet call org.bluez / org.bluez.Mock AddAdapter ss hci0 mock
    local ask=(busctl --quiet call org.bluez / org.freedesktop.DBus.ObjectManager GetManagedObjects)
    check "others may not ask BlueZ here" not inside runuser -u nobody -- "${ask[@]}"
    check "the gateway's user may" inside runuser -u beaconfence -- "${ask[@]}"

    inside sh -c 'mosquitto_sub -h 127.0.0.1 -q 1 -v -t "beaconfence/v1/#" >/tmp/messages 2>&1 &'
    check "it starts, and says that it is ready" inside systemctl enable --now beaconfence
    check "it runs" active
    check "as its own user" grep -qE "^Uid:(\s$(inside id -u beaconfence)){4}$" <(process)
    check "without a capability" test "$(process | awk '/^Cap/ { print $2 }' | sort -u)" = 0000000000000000
    check "it can get no new privilege" grep -q '^NoNewPrivs:.1$' <(process)
    check "its system calls are filtered" grep -q '^Seccomp:.2$' <(process)
    check "its data is its own" mode $data/beaconfence.redb "beaconfence:beaconfence 600"
    check "the broker knows it" within 10 said gateways/market-hall/status '"state":"online"'
    check "its web page is there" within 10 inside bash -c '
        exec 3<>/dev/tcp/127.0.0.1/8090
        printf "GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" >&3 && grep -qi "200 OK" <&3'
}

# said TOPIC TEXT: the broker delivered a message on the topic that has the text.
said() { content /tmp/messages | grep -F "market-hall/$1 " | grep -qF -- "$2"; }
# hear RSSI: one advertisement of shopper-01's beacon of the example store, an iBeacon.
hear() {
    inside busctl --quiet call -- org.bluez / org.bluez.Mock Hear 'ssa{sv}' hci0 C0:00:00:00:00:01 2 RSSI n "$1" \
        ManufacturerData 'a{qv}' 1 76 ay 23 2 21 $(printf '%d ' $(echo "$uuid" | sed 's/../0x& /g')) 0 "$major" 0 "$minor" 197
}
heard() { hear -50; sleep 0.2; said events/site/entered '"subject":"shopper-01"'; }
knows() { gateway device list --json | grep -qF '"shopper-01"'; }

events() {
    check "the example store is applied" gateway apply /usr/share/doc/beaconfence/examples/store --yes
    check "it knows the shopper" knows
    IFS=/ read -r uuid major minor < <(grep ',shopper-01,' "$top/deploy/examples/store/beacons.csv" |
        grep -o 'ibeacon:[^,]*' | cut -d: -f2)
    uuid=${uuid//-/}
    check "the receiver comes up" within 20 said gateways/market-hall/status '"state":"up"'
    check "an advertisement becomes an event at the broker" within 30 heard
}

secret() {
    inside install -d -m 700 /etc/credstore
    inside sh -c 'printf secret >/etc/credstore/beaconfence.mqtt-password; chmod 600 /etc/credstore/beaconfence.mqtt-password
        mosquitto_passwd -b -c /etc/mosquitto/passwords market-hall secret && chown mosquitto /etc/mosquitto/passwords
        printf "listener 1884 127.0.0.1\npassword_file /etc/mosquitto/passwords\nallow_anonymous false\n" >/etc/mosquitto/secret.conf'
    inside systemd-run --quiet --unit=strict-broker /usr/sbin/mosquitto -c /etc/mosquitto/secret.conf
    check "a broker that asks for passwords is there" within 10 inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/1884'
    inside sed -i -e 's,:1883",:1884",' -e 's/^#username = .*/username = "market-hall"/' \
        -e 's/^#\(password_file = \)/\1/' $config
    inside sh -c '
        mosquitto_sub -h 127.0.0.1 -p 1884 -u market-hall -P secret -q 1 -v -t "beaconfence/v1/#" >/tmp/strict 2>&1 &'
    check "it starts with a secret that only systemd can read" inside systemctl restart beaconfence
    check "and the broker lets it in" within 15 let_in
    check "its user cannot read the file of the secret" \
        not inside runuser -u beaconfence -- cat /etc/credstore/beaconfence.mqtt-password
    check "check reads the secret as the service does" \
        inside env CREDENTIALS_DIRECTORY=/etc/credstore beaconfence check --config $config
}

let_in() { content /tmp/strict | grep -q '/status .*"state":"online"'; }

watched() {
    local before
    before=$(main_pid)
    check "it reloads" inside systemctl reload beaconfence
    sleep 1
    check "and is the same process" test "$(main_pid)" = "$before"
    inside sh -c 'mkdir -p /run/systemd/system/beaconfence.service.d
        printf "[Service]\nWatchdogSec=4s\n" >/run/systemd/system/beaconfence.service.d/watchdog.conf
        systemctl daemon-reload && systemctl restart beaconfence'
    before=$(main_pid)
    sleep 6
    check "its event loop says that it turns" test "$(main_pid)" = "$before"
    [ "$before" = 0 ] || inside kill -STOP "$before"
    check "one that stands still is ended and started again" within 25 other_than "$before"
    inside sh -c '
        rm /run/systemd/system/beaconfence.service.d/watchdog.conf
        systemctl daemon-reload; systemctl restart beaconfence'
    check "it runs" active
}
other_than() { active && [ "$(main_pid)" != "$1" ]; }

# A version in place of another: by the edited settings and the data it is the same gateway.
exchanged() {
    local before epoch settings
    epoch=$(epoch) settings=$(content $config)
    check "it is in an epoch" test -n "$epoch"
    local what package
    for what in upgrade downgrade; do
        package=$newer
        [ $what = upgrade ] || package=$older
        before=$(main_pid)
        check "$what: it installs" install_package "$package"
        check "$what: that version is there" \
            test "$(inside dpkg-query -W -f '${Version}' beaconfence)" = "$(dpkg-deb -f "$package" Version)"
        check "$what: it was started again" other_than "$before"
        check "$what: the settings are as they were edited" test "$(content $config)" = "$settings"
        check "$what: it knows the shopper" knows
        check "$what: the epoch goes on" test "$(epoch)" = "$epoch"
        check "$what: it starts at the next boot" test "$(inside systemctl is-enabled beaconfence)" = enabled
    done
}
epoch() { content /tmp/strict | grep -F '/status ' | grep -o '"epoch":"[^"]*"' | tail -n 1; }

removed() {
    check "it is removed" inside dpkg -r beaconfence
    check "it does not run" not active
    check "no process of it is left" not inside pgrep -u beaconfence
    check "its binary is gone" inside test ! -e /usr/bin/beaconfence
    check "the drop-in of bluetoothd is gone" not grep -q -- '-E' <(inside systemctl cat bluetooth)
    check "the data stays" inside test -s $data/beaconfence.redb
    check "the settings stay" grep -q market-hall <(content $config)
    check "installed again" install_package "$older"
    check "it starts" inside systemctl start beaconfence
    check "it knows the shopper" knows
    inside sh -c 'mkdir -p /etc/systemd/system/beaconfence.service.d
        printf "[Service]\nMemoryMax=500M\n" >/etc/systemd/system/beaconfence.service.d/override.conf'
    check "it is purged" inside dpkg -P beaconfence
    check "its user is gone" not inside getent passwd beaconfence
    check "its group is gone" not inside getent group beaconfence

    # What the test itself has put there.
    inside sh -c 'systemctl stop strict-broker bluez-mock; pkill mosquitto_sub
        rm -f /etc/dbus-1/system.d/strict.conf /etc/mosquitto/passwords /etc/mosquitto/secret.conf'
    grep -qxF /etc/credstore "$results/before" || inside rmdir /etc/credstore
    everything >"$results/after"
    check "nothing is left behind" diff "$results/before" "$results/after"
}
