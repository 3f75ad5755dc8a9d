# What the test of the package needs: cargo-deb and a Debian root, both made once and kept. Sourced after tests/vm/prepare.sh.
cargo_deb_version=3.8.0

cargo_deb() {           # prints the path of cargo-deb, after building it if there is none
    local root=$cache/cargo-deb-$cargo_deb_version
    if [ ! -x "$root/bin/cargo-deb" ]; then
        say "building cargo-deb $cargo_deb_version"
        # It packs one package: nothing of it needs to be fast but what compresses, which its own profile sees to.
        cargo install --quiet --locked --root "$root" "cargo-deb@$cargo_deb_version" >&2 || die "cargo-deb could not be built"
    fi
    echo "$root/bin/cargo-deb"
}

debian_root() {         # prints the path of a Debian root of this machine's release (or BEACONFENCE_SUITE), after making it if there is none
    local own suite packages mirror target new
    own=$(. /etc/os-release && echo "$VERSION_CODENAME")
    suite=${BEACONFENCE_SUITE:-$own}
    packages=$(grep -hv '^#' "$here/root-packages.txt" | paste -sd,)
    target=$cache/root-$suite-$(echo "$packages" | sha256sum | cut -c1-12)
    if [ ! -d "$target" ]; then
        mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' "Created-By: Packages" |
            awk -v s="$own" '$2 == s { print $1; exit }')
        [ -n "$mirror" ] || die "apt knows no repository of Debian $own"
        mkdir -p "$cache"
        new=$(mktemp -d "$cache/root.XXXXXX")
        chmod 755 "$new"
        say "making a root of Debian $suite from $mirror"
        as_root debootstrap --variant=minbase --include="$packages" "$suite" "$new" "$mirror" >"$cache/debootstrap.log" 2>&1 \
            || { tail -n 20 "$cache/debootstrap.log" >&2; as_root rm -rf "$new"; die "debootstrap failed"; }
        as_root rm -rf "$new"/var/cache/apt/archives/*.deb
        as_root mv -T "$new" "$target"      # at once, so that an interrupted run leaves nothing half done
    fi
    realpath "$target"
}
