# To be sourced by the scripts that need Pyrite installed: makes `.venv` at the top of the
# checkout and installs Pyrite into it, at the versions of deploy/constraints.txt.
#
#   ensure_venv [EXTRA]    EXTRA is one of pyproject.toml's optional dependencies
#
# What has been installed is remembered by a checksum, so that a second call takes no time.

# What is imported is compiled once and kept; without that, each command would compile its own.
unset PYTHONDONTWRITEBYTECODE

ensure_venv() {
    local extra="${1:-}" python stamp wanted
    python="$(find_python)" || return 1
    if [ ! -x .venv/bin/python ]; then
        echo "==> making a virtual environment in .venv with $("$python" --version)"
        "$python" -m venv .venv
    fi
    stamp=".venv/installed${extra:+-$extra}"
    wanted="$(cat pyproject.toml deploy/constraints.txt | cksum)"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "==> installing Pyrite${extra:+ and what $extra needs} (minutes, the first time)"
        # Compiled afterwards, by all processors at once, and without what is never imported. Of
        # the large ones little is ever used: that is compiled when it is first imported.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
            --constraint deploy/constraints.txt \
            --config-settings editable_mode=compat --editable ".${extra:+[$extra]}"
        local large='torch|transformers|sympy|scipy|sklearn|networkx|matplotlib|fontTools|mypy|pip'
        .venv/bin/python -m compileall -q -j 0 -x "/tests?/|/testing/|/($large)/" \
            .venv/lib >/dev/null 2>&1 || true
        # With an extra, everything that is needed without it has been installed too.
        echo "$wanted" | tee .venv/installed >"$stamp"
        # What the developers need includes what makes it fast.
        if [ "$extra" = dev ]; then echo "$wanted" >.venv/installed-fast; fi
    fi
}

find_python() {
    local candidate
    for candidate in python3 python3.11 python3.12 python3.13 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Pyrite needs Python 3.11 or later, and none was found." >&2
    return 1
}
